"""Waiting times that providers ask for, in every spelling in use."""

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

DEFAULT_WAIT_S, MAX_WAIT_S = 5, 3_600
MAX_HEADER_CHARACTERS = 64
RESETS = (
    "x-ratelimit-reset",
    "anthropic-ratelimit",
)  # prefixes; OpenAI sends one header for requests and one for tokens
# OpenAI writes `1m30s`, `6m0s`, `20ms`; Groq `7.66s`.
DURATION = re.compile(
    r"(?:(\d{1,6})d)?(?:(\d{1,6})h)?(?:(\d{1,6})m(?!s))?(?:(\d{1,9}(?:\.\d{1,9})?)s)?(?:(\d{1,9})ms)?"
)
UNITS_S = (86_400, 3_600, 60, 1, 0.001)
EPOCH_FROM_S = 1_000_000_000  # larger numbers are Unix seconds, above 1000 times that milliseconds


def wait_s(headers: Mapping[str, str]) -> int:
    """Return the whole seconds to wait that headers state, from 1 to MAX_WAIT_S, else DEFAULT_WAIT_S."""
    stated = stated_s(headers)
    return DEFAULT_WAIT_S if stated is None else max(1, min(math.ceil(stated), MAX_WAIT_S))


def stated_s(headers: Mapping[str, str]) -> float | None:
    """Return the seconds to wait that the headers state; None without such a header."""
    if (milliseconds := _number(headers.get("retry-after-ms", ""))) is not None:
        return milliseconds / 1000
    stated = _seconds(headers.get("retry-after", ""))
    return _until_reset(headers) if stated is None else stated


def _until_reset(headers: Mapping[str, str]) -> float | None:
    # Return the seconds until the exhausted limit resets; else until the latest reset.
    resets = {name: value for name, value in headers.items() if name.lower().startswith(RESETS) and "reset" in name}
    used_up = {name: value for name, value in resets.items() if headers.get(name.replace("reset", "remaining")) == "0"}
    waits = [wait for value in (used_up or resets).values() if (wait := _seconds(value)) is not None]
    return max(waits, default=None)


def _seconds(value: str) -> float | None:
    # Parse seconds, a duration, Unix time, an HTTP date (RFC 9110, 10.2.3) or an ISO date.
    value = value.strip()[:MAX_HEADER_CHARACTERS]
    if (number := _number(value)) is not None:
        return _from_epoch(number)
    if value and (found := DURATION.fullmatch(value)):
        return sum(float(count) * unit for count, unit in zip(found.groups(), UNITS_S, strict=True) if count)
    moment = _moment(value)
    return (moment - datetime.now(UTC)).total_seconds() if moment else None


def _from_epoch(number: float) -> float:
    if number < EPOCH_FROM_S:
        return number
    moment_s = number / 1000 if number > EPOCH_FROM_S * 1000 else number
    return moment_s - datetime.now(UTC).timestamp()


def _number(value: str) -> float | None:
    try:
        number = float(value[:MAX_HEADER_CHARACTERS])
    except ValueError:
        return None
    return number if math.isfinite(number) and number >= 0 else None


def _moment(value: str) -> datetime | None:
    for parse in (parsedate_to_datetime, datetime.fromisoformat):
        try:
            moment = parse(value)
        except (ValueError, TypeError, OverflowError):
            continue
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return None
