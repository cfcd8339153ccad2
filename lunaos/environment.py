"""Strict readers of environment variables; imports nothing of the project."""

# A reader refuses a wrong value with an ImproperlyConfigured that names the variable, the value and an example.

import builtins
import logging
import math
import os
import re
import sys
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

import environ
from django.core.exceptions import ImproperlyConfigured

TRUE, FALSE = ("true", "yes", "on", "ok", "y", "1"), ("false", "no", "off", "n", "0")
MAX_PORT = 65_535
POSTGRESQL_SCHEMES, VALKEY_SCHEMES, HTTP_SCHEMES = (
    ("postgres", "postgresql", "psql", "pgsql"),
    ("redis", "rediss", "unix"),
    ("http", "https"),
)
# All other numbers have the minimum 0 and no maximum.
MINIMUMS = {
    **dict.fromkeys(("PORT", "STRIPE_PORT", "LUNAOS_THREADS", "LUNAOS_STRIPE_THREADS", "LUNAOS_CHAIN_CONCURRENCY"), 1),
    **dict.fromkeys(("LUNAOS_MAX_BODY_BYTES", "LUNAOS_RAG_MAX_BODY_BYTES"), 1),
    **dict.fromkeys(("EMBEDDINGS_DIMENSION", "EMBEDDINGS_WINDOW"), 1),
    "LUNAOS_STREAM_HEARTBEAT_S": 0.05,
}
MAXIMUMS = dict.fromkeys(("PORT", "STRIPE_PORT", "LUNAOS_METRICS_PORT"), MAX_PORT)
NOT_SET: Any = environ.Env.NOTSET
# Variables of earlier releases that are not read any more, each with what to set instead.
REMOVED: dict[str, str] = {}


def refuse_removed() -> None:
    """Refuse variables that are set and no longer read: no setting is lost unnoticed."""
    lines = [f"{name} is not read any more: {instead}" for name, instead in REMOVED.items() if os.environ.get(name)]
    if lines:
        raise ImproperlyConfigured("\n".join(lines))


def read_int(name: str, default: int) -> int:
    """Read a whole number within its bounds; an empty variable counts as not set."""
    text = os.environ.get(name, "").strip()
    try:
        return int(_require_within_bounds(name, int(text), text)) if text else default
    except ValueError:
        raise _invalid_value(name, text, "a whole number", default) from None


def read_float(name: str, default: float) -> float:
    """Read a number as `read_int` does; refuse infinity and NaN."""
    text = os.environ.get(name, "").strip()
    try:
        value = float(text) if text else default
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise _invalid_value(name, text, "a number", default)
    return _require_within_bounds(name, value, text)


def read_bool(name: str, default: bool) -> bool:
    """Read true or false as `read_int` does."""
    text = os.environ.get(name, "").strip()
    if not text:
        return default
    # Any other word is refused: read as false, a misspelt `ture` would switch something off.
    if text.lower() not in (*TRUE, *FALSE):
        raise ImproperlyConfigured(f"{name} is {text!r}: set true or false.")
    return text.lower() in TRUE


def read_pairs(name: str) -> dict[str, str]:
    """Read `name=value,name=value`."""
    items = [item.split("=", 1) for item in os.environ.get(name, "").split(",") if item]
    if not all(len(item) == 2 and all(item) for item in items):
        # The error does not show the values, which may be secrets.
        raise ImproperlyConfigured(f"{name} is not a list of pairs: set name=value, separated by commas.")
    return dict(items)


def read_url(name: str, schemes: tuple[str, ...], default: str | None = None) -> str:
    """Read a URL of one of the schemes; without a default the variable must be set."""
    text = os.environ.get(name, default or "").strip()
    if not text and default is None:
        raise ImproperlyConfigured(f"Set the {name} environment variable to a URL, as {schemes[0]}://… .")
    try:
        parts = urlsplit(text)
        good = parts.scheme in schemes and (parts.port is None or parts.port > 0)
        good = good and bool(parts.hostname or schemes is not HTTP_SCHEMES)
    except ValueError:
        good = False
    if text and not good:
        # The error does not show the URL, which may hold a password.
        raise ImproperlyConfigured(f"{name} is not a valid URL: set {'://… or '.join(schemes)}://… .")
    return text


def read_origins(name: str) -> list[str]:
    """Read origins of browsers (RFC 6454): scheme and host without a path."""
    found = [origin.strip() for origin in os.environ.get(name, "").split(",") if origin.strip()]
    for origin in found:
        if not re.fullmatch(r"null|file://|[a-z][a-z0-9+.-]*://[^\s/?#@]+", origin):
            raise ImproperlyConfigured(f"{name} names {origin!r}: set origins such as https://app.example.com.")
    return found


def read_file_path(name: str) -> str:
    path = os.environ.get(name, "").strip()
    if path and not Path(path).is_file():
        raise ImproperlyConfigured(
            f"{name} is {path!r}, which is not a file: set the path of a file, or leave it empty."
        )
    return path


def read_log_level(name: str, default: str) -> str:
    level = (os.environ.get(name, "").strip() or default).upper()
    if level not in logging.getLevelNamesMapping():
        raise ImproperlyConfigured(f"{name} is {level!r}: set DEBUG, INFO, WARNING, ERROR or CRITICAL.")
    return level


class Env(environ.Env):
    """django-environ's reader with the strict readers of this module."""

    def int(self, var: str, default: Any = 0) -> builtins.int:
        return read_int(var, default)

    def float(self, var: str, default: Any = 0.0) -> builtins.float:
        return read_float(var, default)

    def bool(self, var: str, default: Any = False) -> builtins.bool:
        return read_bool(var, default)

    def dict(self, var: str, cast: Any = None, default: Any = NOT_SET) -> builtins.dict[str, str]:
        return read_pairs(var)

    def db(self, var: str, default: Any = NOT_SET, engine: Any = None) -> builtins.dict[str, Any]:
        read_url(var, POSTGRESQL_SCHEMES)
        return builtins.dict(super().db(var))


def print_configuration_errors() -> None:
    """Print a wrong setting without a traceback when it ends the process."""
    default_hook = sys.excepthook

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if issubclass(kind, ImproperlyConfigured):
            sys.stderr.write(f"LunaOS cannot start, ImproperlyConfigured: {error}\n")
        else:
            default_hook(kind, error, trace)

    sys.excepthook = hook


def _require_within_bounds(name: str, value: builtins.float, text: str) -> builtins.float:
    least, most = MINIMUMS.get(name, 0), MAXIMUMS.get(name, math.inf)
    if not least <= value <= most:
        upper = f" to {most}" if most < math.inf else " or more"
        raise ImproperlyConfigured(f"{name} is {text or value}: set {least}{upper}.")
    return value


def _invalid_value(name: str, text: str, kind: str, example: object) -> ImproperlyConfigured:
    return ImproperlyConfigured(f"{name} is {text!r}, which is not {kind}: set a value such as {example}.")
