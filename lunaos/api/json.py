"""JSON in the form of the contract."""

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import orjson


def timestamp(moment: datetime) -> str:
    """Format a time as ISO 8601 in UTC with milliseconds and `Z`."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _default(value: Any) -> Any:
    if isinstance(value, datetime):
        return timestamp(value)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, dict):
        return dict(value)
    if isinstance(value, list):
        return list(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")


def dumps(value: Any) -> bytes:
    """Encode a value as UTF-8, or raise TypeError."""
    return orjson.dumps(value, default=_default, option=orjson.OPT_PASSTHROUGH_DATETIME)


def loads(text: bytes) -> Any:
    """Decode a text, or raise ValueError."""
    return orjson.loads(text)
