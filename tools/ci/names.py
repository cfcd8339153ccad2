"""`make names`: write the names that releases share to `lunaos/tests/names.txt`.

A variable may go only if `lunaos.environment.REMOVED` names its replacement.
"""

import ast
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from inspect import signature
from pathlib import Path
from typing import Any, TypeVar

import django

ROOT = Path(__file__).resolve().parents[2]
SNAPSHOT = ROOT / "lunaos" / "tests" / "names.txt"
# A queued message, a stored row, a dashboard or a client of the release before this one refers to these names. Modules
# of Django and of the product are imported in functions, after `main` has set Django up.
NOT_PRODUCT = {"tests", "testing", "benchmarks", "tools"}
EMBEDDED_HELP = [sys.executable, "-m", "lunaos.embedded", "--help"]
# Modules that only the platform itself starts; they may move.
INTERNAL_PROGRAMS = {"rag.chunking.worker", "lunaos.embedded.llama"}
SEND_ALERTS = re.compile(r"alerts\.(send|send_daily)")
VARIABLES = "Environment variables in .env.example"
KEY_PREFIXES = ("lunaos:", "alarm:", "spend-refused:")
VARIABLE = re.compile(r"(\{\}_)?[A-Z][A-Z0-9]+(_[A-Z0-9]+)*")
READERS = re.compile(r"env\.\w+|environment\.\w+|env_variables\.\w+|os\.environ\.(get|setdefault)|os\.getenv|read_int")
METRIC = re.compile(r"lunaos_[a-z0-9_]+")
Node = TypeVar("Node", bound=ast.AST)
NAMED_LOCK = re.compile(r"hashtext\('([\w.]+)'\)")


def collect() -> dict[str, list[str]]:
    """Return all names by their kind, sorted."""
    return {kind: sorted(set(find())) for kind, find in KINDS.items()}


def as_text(names: dict[str, list[str]]) -> str:
    """Return the file's content: one name a line, below a heading for each kind."""
    return "\n".join("\n".join((f"## {kind}", *found, "")) for kind, found in names.items())


def read(text: str) -> dict[str, list[str]]:
    """Return the names in a file's content; the inverse of `as_text`."""
    sections = (section.strip().splitlines() for section in text.split("## ")[1:])
    return {lines[0]: lines[1:] for lines in sections}


def _celery_tasks() -> Iterator[str]:
    from lunaos.celery import app

    app.loader.import_default_modules()
    return (name for name in app.tasks if not name.startswith("celery."))


def _celery_arguments() -> Iterator[str]:
    from lunaos.celery import app

    # Messages queued by the release before carry their arguments by position or by name.
    for name in _celery_tasks():
        arguments = signature(app.tasks[name].run).parameters
        yield from (f"{name} {number} {argument}" for number, argument in enumerate(arguments))


def _queues() -> Iterator[str]:
    from django.conf import settings

    from lunaos import processes
    from lunaos.celery import app

    yield app.conf.task_default_queue
    yield from (route["queue"] for route in settings.CELERY_TASK_ROUTES.values())
    yield from (queue for queue, *_ in processes.QUEUES.values())


def _beat_entries() -> Iterable[str]:
    from django.conf import settings

    return settings.CELERY_BEAT_SCHEDULE


def _audit_actions() -> Iterator[str]:
    from accounts.auditlog.trail import Action

    return (str(action) for action in Action)


def _permissions() -> Iterator[str]:
    from django.apps import apps

    for options in (model._meta for model in apps.get_models()):
        yield from (f"{options.app_label}.{action}_{options.model_name}" for action in options.default_permissions)
        yield from (f"{options.app_label}.{codename}" for codename, _ in options.permissions)


def _metrics() -> Iterator[str]:
    # Passed to a call, as in `Counter("lunaos_runs_total", …)`.
    for call in _nodes(ast.Call):
        yield from (name for arg in call.args for name in _strings(arg) if METRIC.fullmatch(name))


def _alarms() -> Iterator[str]:
    for call in _nodes(ast.Call):
        if SEND_ALERTS.fullmatch(_name(call.func)):
            yield from _strings(call.args[0])


def _loggers() -> Iterator[str]:
    # Only those that do not carry a module's name.
    for call in _nodes(ast.Call):
        if _name(call.func).endswith(("get_logger", "getLogger")) and call.args:
            yield from _strings(call.args[0])


def _management_commands() -> Iterator[str]:
    from django.apps import apps
    from django.core.management import get_commands

    # Our own apps, wherever their packages lie.
    own = {config.name for config in apps.get_app_configs() if "site-packages" not in Path(config.path).parts}
    return (name for name, app in get_commands().items() if app in own)


def _variables_read() -> Iterator[str]:
    reads = [call.args[0] for call in _nodes(ast.Call) if call.args and READERS.fullmatch(_name(call.func))]
    subscripts = [found.slice for found in _nodes(ast.Subscript) if _name(found.value) == "os.environ"]
    for name in (*reads, *subscripts):
        yield from (text for text in _strings(name) if VARIABLE.fullmatch(text))


def _variables_documented() -> Iterable[str]:
    return re.findall(r"^([A-Z][A-Z0-9_]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE)


def _openapi(kind: str) -> Callable[[], Iterator[str]]:
    def names() -> Iterator[str]:
        for section, found in _document()["components"].items():
            if (section == "schemas") == (kind == "schemas"):
                yield from (name if kind == "schemas" else f"{section}/{name}" for name in found)

    return names


def _operations() -> Iterator[str]:
    for path, methods in _document()["paths"].items():
        for method, operation in methods.items():
            yield f"{operation['operationId']} ({method.upper()} {path})"


@cache
def _document() -> Any:
    from drf_spectacular import generators

    generator: Any = generators.SchemaGenerator
    return generator().get_schema(request=None, public=True)


def _programs() -> Iterator[str]:
    from lunaos import processes

    for path in _trees():
        module = ".".join(path.with_suffix("").parts)
        is_program = 'if __name__ == "__main__":' in (ROOT / path).read_text() and "image" not in path.parts
        if is_program and module not in INTERNAL_PROGRAMS:
            yield module.removesuffix(".__main__")
    yield from (f"lunaos.processes {role}" for role in (*processes.ROLES, "manage"))
    help_text = subprocess.run(EMBEDDED_HELP, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    actions = re.search(r"\{([\w,]+)\}", help_text)
    yield from (f"lunaos.embedded {action}" for action in (actions[1] if actions else "").split(","))


def _columns() -> Iterator[str]:
    from django.apps import apps

    for model in apps.get_models(include_auto_created=True):
        yield from (f"{model._meta.db_table}.{field.column}" for field in model._meta.local_concrete_fields)


def _valkey_keys() -> Iterator[str]:
    # Texts that begin as keys and channels do; `{}` stands for a part that varies.
    for node in (*_nodes(ast.JoinedStr), *_nodes(ast.Constant)):
        yield from (text for text in _strings(node) if text.startswith(KEY_PREFIXES))
    for call in _nodes(ast.Call):
        if _name(call.func) in ("cache.add", "cache.set"):
            yield from _strings(call.args[0])


def _rate_limits() -> Iterator[str]:
    # Scopes are part of the keys of counters.
    for call in _nodes(ast.Call):
        if _name(call.func).endswith("hit"):
            yield from (text for word in call.keywords if word.arg == "scope" for text in _strings(word.value))


def _salts() -> Iterator[str]:
    # With another label, signed links and tokens would be refused.
    for call in _nodes(ast.Call):
        if _name(call.func).rpartition(".")[2] == "salted_hmac":
            yield from _strings(call.args[0])
    for assignment in _nodes(ast.Assign):
        if any(_name(target) == "SALT" for target in assignment.targets):
            yield from _strings(assignment.value)
    for function in _nodes(ast.FunctionDef):
        if function.name == "salt":
            yield from (
                text for node in ast.walk(function) if isinstance(node, ast.JoinedStr) for text in _strings(node)
            )
    for label in _nodes(ast.Constant):
        if isinstance(label.value, bytes) and label.value.startswith(b"lunaos."):
            yield label.value.decode()


def _stored_paths() -> Iterator[str]:
    from django.conf import settings
    from django.contrib.auth.hashers import get_hashers

    # Sessions and password hashes hold them.
    yield from settings.AUTHENTICATION_BACKENDS
    yield from (f"algorithm {hasher.algorithm}" for hasher in get_hashers())


def _named_locks() -> Iterator[str]:
    for path in _product_files():
        yield from NAMED_LOCK.findall(path.read_text())


def _strings(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    if isinstance(node, ast.JoinedStr):
        yield "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values)


def _name(node: ast.AST) -> str:
    if isinstance(node, ast.Attribute):
        return f"{_name(node.value)}.{node.attr}"
    # Only the last part of a name that begins with an expression.
    return node.id if isinstance(node, ast.Name) else ""


@cache
def _nodes(kind: type[Node]) -> list[Node]:
    nodes = [node for tree in _trees().values() for node in ast.walk(tree)]
    # The parts of an f-string are not constants of their own.
    parts = {id(part) for node in nodes if isinstance(node, ast.JoinedStr) for part in node.values}
    return [node for node in nodes if isinstance(node, kind) and id(node) not in parts]


@cache
def _trees() -> dict[Path, ast.Module]:
    files = (path for path in _product_files() if "migrations" not in path.parts)
    return {path.relative_to(ROOT): ast.parse(path.read_text()) for path in files}


def _product_files() -> Iterator[Path]:
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["root_packages"]
    for package in (*packages, "deploy"):
        for path in sorted((ROOT / package).rglob("*.py")):
            if not NOT_PRODUCT & set(path.relative_to(ROOT).parts):
                yield path


KINDS: dict[str, Callable[[], Iterable[str]]] = {
    "Celery tasks": _celery_tasks,
    "Celery arguments": _celery_arguments,
    "Celery queues": _queues,
    "Beat entries": _beat_entries,
    "Audit actions": _audit_actions,
    "Permissions": _permissions,
    "Metrics": _metrics,
    "Alarms": _alarms,
    "Loggers": _loggers,
    "Management commands": _management_commands,
    "Environment variables read": _variables_read,
    VARIABLES: _variables_documented,
    "OpenAPI schemas": _openapi("schemas"),
    "OpenAPI components": _openapi("others"),
    "OpenAPI operations": _operations,
    "Programs (python -m)": _programs,
    "Valkey keys and channels": _valkey_keys,
    "Scopes of rate limits": _rate_limits,
    "Salts and labels of keys": _salts,
    "Names in sessions and hashes": _stored_paths,
    "Advisory locks": _named_locks,
    "Columns": _columns,
}


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "testing.offline")
    django.setup()
    from lunaos import environment

    names = collect()
    gone = set(read(SNAPSHOT.read_text()).get(VARIABLES, ())) - {*names[VARIABLES], *environment.REMOVED}
    if gone:
        sys.exit(f"{', '.join(sorted(gone))}: say in lunaos.environment.REMOVED what to set instead.")
    SNAPSHOT.write_text(as_text(names))


if __name__ == "__main__":
    main()
