"""Logging: one JSON line per record, with the request's id and without secrets."""

import logging
import re
from itertools import islice
from typing import Any

import structlog

from lunaos.infra.observability import tracing

QUIETED_LOGGERS = (
    *("daphne", "httpx2", "httpx", "openai", "stripe", "asyncio"),
    *("celery.app.trace", "celery.worker.strategy"),
)
MAX_VALUE_CHARACTERS = 2_048  # of a value that the patterns below receive, however long the value is
MARGIN_CHARACTERS = 256  # removed from a shortened value: a secret cut at the edge may not be recognised
MAX_TRACEBACK_CHARACTERS = 32_768  # from the end, which names the error
MAX_ITEMS, MAX_DEPTH = 100, 8  # of lists and objects in a record
# Secrets that are recognised by their form. The group keeps the prefix, which tells a reader the kind of secret. Each
# repeat is bounded or possessive, and no two matches start in the same stretch of text: the time is linear in the text.
SECRETS = re.compile(
    r"""
    (?<![\w\-])[\w\-]{8,}+(?::|%3A)[0-9A-Za-z]{5,8}(?::|%3A)[\w\-]{43}  # a signed token of a mail
    | (?P<kept>
        lnos_live_                                      # our API keys
        | \bsk- | \bgsk_ | \bxai- | \bpplx- | \bhf_ | \bAIza # DeepSeek, OpenAI, Anthropic; Groq, xAI, Perplexity, …
        | \b[rsp]k_(?:live|test)_ | \bwhsec_ | \bre_(?=\w{0,64}\d)  # Stripe's keys and webhook secrets, Resend's keys
        | Bearer\s{1,16}+ | Basic\s{1,16}+(?=[\w+/]{0,512}[\d=])
        | \beyJ                                         # JSON Web Tokens
        | \bgAAAA                                        # Fernet: users' own provider keys at rest
        | \b(?:argon2\w{0,16}|pbkdf2\w{0,32})\$            # password hashes
    )[\w.$,=/+\-]{8,}+
    | (?<=://)[^/\s:@]*+:[^/\s@]++(?=@)                  # a password in a URL
    """,
    re.VERBOSE,
)
# Secrets that are recognised by their name, in JSON, a query, a form or a traceback: "password": "…", secret=…,
# api_key='…'. The end of a text that was cut closes a quotation.
NAMED = re.compile(
    r"""
    (?P<kept>
        (?:password|passwd|passphrase|secret|api[_-]?key|credential)\w{0,64}+
        \\{0,32}+["']?+\s{0,16}+[:=]\s{0,16}+\\{0,32}+
    )
    (?: "(?:[^"\\]|\\.?)*+"?+ | '(?:[^'\\]|\\.?)*+'?+ | [^\s"'&,;)}\]]++ )
    """,
    re.VERBOSE | re.IGNORECASE,
)
SECRET_NAME = re.compile(r"password|passwd|passphrase|secret|api[_-]?key|authorization|credential", re.IGNORECASE)
REDACTED = "[redacted]"
ELLIPSIS = "…"
INTERNAL_FIELDS = ("_record", "_from_structlog")  # fields that structlog's formatter keeps in a record for itself
TRACEBACKS = ("exception", "stack")


def redact_text(text: str) -> str:
    """Return at most MAX_VALUE_CHARACTERS of a text, without its secrets."""
    read = text[:MAX_VALUE_CHARACTERS]
    read = SECRETS.sub(lambda match: f"{match['kept'] or ''}{REDACTED}", read)
    read = NAMED.sub(lambda match: f"{match['kept']}{REDACTED}", read)
    return read if len(text) <= MAX_VALUE_CHARACTERS else read[:-MARGIN_CHARACTERS] + ELLIPSIS


def redact(_logger: object, _method: str, event: dict[str, Any]) -> dict[str, Any]:
    """Remove secrets from every value of a record, at any depth (structlog processor)."""
    return {
        _name(key): value if key in INTERNAL_FIELDS else _redacted(key, value, MAX_DEPTH)
        for key, value in event.items()
    }


def _redacted(name: object, value: Any, depth: int) -> Any:
    if isinstance(name, str) and SECRET_NAME.search(name[:MAX_VALUE_CHARACTERS]) and value is not None:
        return REDACTED
    match value:
        case None | bool() | int() | float():
            return value
        case str() if name in TRACEBACKS:
            return _redacted_traceback(value)
        case str():
            return redact_text(value)
        case bytes():
            return redact_text(value[: 4 * MAX_VALUE_CHARACTERS + 1].decode(errors="replace"))
        case dict() | list() | tuple() | set() | frozenset() if depth == 0:
            return ELLIPSIS
        case dict():
            return {_name(key): _redacted(key, inner, depth - 1) for key, inner in islice(value.items(), MAX_ITEMS)}
        case list() | tuple() | set() | frozenset():
            return [_redacted(None, inner, depth - 1) for inner in islice(value, MAX_ITEMS)]
    return redact_text(repr(value))


def _name(key: Any) -> Any:
    return redact_text(key) if isinstance(key, str) else key


def _redacted_traceback(text: str) -> str:
    # The last lines in blocks: cut like other values, a traceback would lose the error's name.
    blocks, kept = [""], 0
    for line in reversed(text.split("\n")):
        if kept > MAX_TRACEBACK_CHARACTERS:
            break
        line = line[: MAX_VALUE_CHARACTERS + 1]
        kept += len(line) + 1
        if len(line) + len(blocks[-1]) >= MAX_VALUE_CHARACTERS:
            blocks.append(line)
        else:
            blocks[-1] = f"{line}\n{blocks[-1]}" if blocks[-1] else line
    return "\n".join(map(redact_text, reversed(blocks)))


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
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": {"()": "lunaos.infra.observability.logs.formatter", "debug": debug}},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
        "root": {"handlers": ["stderr"], "level": level},
        "loggers": {name: {"level": "WARNING"} for name in QUIETED_LOGGERS}
        | {"django.request": {"level": "ERROR"}},  # lower levels repeat the request's own line
    }


def formatter(*, debug: bool) -> logging.Formatter:
    """Make the formatter that the settings name, and point structlog's loggers at it."""
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
