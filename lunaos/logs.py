"""One log line a record: JSON in production, with the request's id on it and secrets taken out."""

import logging
import re
from typing import Any

import structlog

from lunaos import tracing

CHATTY = (
    *("daphne", "httpx2", "httpx", "openai", "stripe", "asyncio"),
    *("celery.app.trace", "celery.worker.strategy"),
)
# What is known by its form. The groups keep what tells a reader which kind of secret was there.
SECRETS = re.compile(
    r"""
    (?P<kept>
        lnos_live_                                      # our API keys
        | \bsk- | \bgsk_ | \bxai- | \bpplx- | \bhf_ | \bAIza # DeepSeek, OpenAI, Anthropic; Groq, xAI, Perplexity, …
        | \b[rsp]k_(?:live|test)_ | \bwhsec_ | \bre_(?=\w*\d)  # Stripe's keys and webhook secrets, Resend's keys
        | Bearer\s+ | Basic\s+(?=[\w+/]*[\d=])
        | \beyJ[\w-]+\.                                 # JSON Web Tokens
        | \bgAAAA                                        # Fernet: users' own provider keys at rest
        | \b(?:argon2\w*|pbkdf2\w*)\$                    # password hashes
    )[\w.$,=/+\-]{8,}
    | (?<=://)[^/\s:@]*:[^/\s@]+(?=@)                    # a password in a URL
    """,
    re.VERBOSE,
)
# What is known by its name, as in JSON, a query, a form or a traceback: "password": "…", secret=…, api_key='…'.
NAMED = re.compile(
    r"""
    (?P<kept>\b\w*(?:password|passwd|passphrase|secret|api[_-]?key|credential)\w*\\*["']?\s*[:=]\s*\\*)
    (?: "(?:[^"\\]|\\.)*" | '(?:[^'\\]|\\.)*' | [^\s"'&,;)}\]]+ )
    """,
    re.VERBOSE | re.IGNORECASE,
)
SECRET_NAME = re.compile(r"password|passwd|passphrase|secret|api[_-]?key|authorization|credential", re.IGNORECASE)
REDACTED = "[redacted]"


def redact_text(text: str) -> str:
    """Replace whatever looks like a key, a token or a password."""
    text = SECRETS.sub(lambda match: f"{match['kept'] or ''}{REDACTED}", text)
    return NAMED.sub(lambda match: f"{match['kept']}{REDACTED}", text)


def redact(_logger: object, _method: str, event: dict[str, Any]) -> dict[str, Any]:
    """Structlog processor: no secret in any value of the record, its traceback included, however deep it lies."""
    return {key: _redacted(key, value) for key, value in event.items()}


def _redacted(name: object, value: Any) -> Any:
    if isinstance(name, str) and SECRET_NAME.search(name) and value is not None:
        return REDACTED
    if isinstance(value, str):
        return redact_text(value)
    if isinstance(value, bytes):
        return redact_text(value.decode(errors="replace"))
    if isinstance(value, dict):
        return {key: _redacted(key, inner) for key, inner in value.items()}
    if isinstance(value, list | tuple | set):
        return [_redacted(None, inner) for inner in value]
    return value


PROCESSORS: list[Any] = [
    structlog.contextvars.merge_contextvars,
    tracing.add_trace_id,
    structlog.stdlib.add_logger_name,
    structlog.stdlib.add_log_level,
    structlog.stdlib.PositionalArgumentsFormatter(),
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.processors.format_exc_info,
    redact,
]


def configuration(*, debug: bool, level: str) -> dict[str, Any]:
    """Of the process's logging, for the settings.

    Args:
        debug: coloured text instead of JSON.
        level: of all but the loggers that would say too much.
    """
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": {"()": "lunaos.logs.formatter", "debug": debug}},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
        "root": {"handlers": ["stderr"], "level": level},
        "loggers": {name: {"level": "WARNING"} for name in CHATTY}
        | {"django.request": {"level": "ERROR"}},  # below that the request's own line says it
    }


def formatter(*, debug: bool) -> logging.Formatter:
    """Make the formatter that the settings name, and point structlog's own loggers at it.

    Args:
        debug: coloured text for a terminal instead of JSON.
    """
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *PROCESSORS,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    last = structlog.dev.ConsoleRenderer() if debug else structlog.processors.JSONRenderer()
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=PROCESSORS, processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, last]
    )
