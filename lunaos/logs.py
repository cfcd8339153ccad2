"""One log line a record: JSON in production, with the request's id on it and secrets taken out."""

import logging
import re
from typing import Any

import structlog

SECRETS = re.compile(
    r"(lnos_live_|\bsk-|\b[rs]k_(?:live|test)_|\bwhsec_|\bre_(?=\w*\d)|Bearer\s+|\beyJ[\w-]+\.)[\w.\-]{8,}"
    r"|(?<=://)[^/\s:@]*:[^/\s@]+(?=@)"
)


def redact_text(text: str) -> str:
    """Replace whatever looks like a key, a token or a password in a URL."""
    return SECRETS.sub(lambda match: f"{match.group(1) or ''}[redacted]", text)


def redact(_logger: object, _method: str, event: dict[str, Any]) -> dict[str, Any]:
    """Structlog processor: `redact_text` over every string of the record, its traceback included."""
    return {key: redact_text(value) if isinstance(value, str) else value for key, value in event.items()}


PROCESSORS: list[Any] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_logger_name,
    structlog.stdlib.add_log_level,
    structlog.stdlib.PositionalArgumentsFormatter(),
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.processors.format_exc_info,
    redact,
]


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
