"""Waiting times that a provider states."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from agents.providers import retry_after


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "20"}, 20),
        ({"retry-after": "20.5"}, 21),
        ({"retry-after": "0"}, 1),
        ({"retry-after": "0.2"}, 1),
        ({"retry-after": "999999999"}, 3_600),
        ({"retry-after": "9" * 40}, 3_600),
        ({"retry-after": "-5"}, 5),
        ({"retry-after": "soon"}, 5),
        ({"retry-after": "inf"}, 5),
        ({"retry-after": "nan"}, 5),
        ({"retry-after": ""}, 5),
        ({}, 5),
        ({"retry-after-ms": "1500"}, 2),
        ({"retry-after-ms": "1500", "retry-after": "60"}, 2),
        ({"retry-after-ms": "x", "retry-after": "60"}, 60),
        ({"x-ratelimit-reset-requests": "1m30s"}, 90),
        ({"x-ratelimit-reset-tokens": "6m0s"}, 360),
        ({"x-ratelimit-reset-tokens": "20ms"}, 1),
        ({"x-ratelimit-reset-tokens": "7.66s"}, 8),
        ({"x-ratelimit-reset-tokens": "1h2m3s"}, 3_600),
        ({"x-ratelimit-reset": "12"}, 12),
        ({"x-ratelimit-reset-requests": "1m30s", "x-ratelimit-reset-tokens": "6m0s"}, 360),
        (
            {
                "x-ratelimit-reset-requests": "1m30s",
                "x-ratelimit-remaining-requests": "0",
                "x-ratelimit-reset-tokens": "6m0s",
                "x-ratelimit-remaining-tokens": "900",
            },
            90,
        ),
        ({"retry-after": "7", "x-ratelimit-reset-tokens": "6m0s"}, 7),
    ],
)
def test_the_wait(headers: dict[str, str], seconds: int) -> None:
    assert retry_after.wait_s(headers) == seconds


@pytest.mark.parametrize("form", ["http", "iso", "unix", "unix_ms"])
def test_a_moment(form: str) -> None:
    moment = datetime.now(UTC) + timedelta(seconds=100)
    written = {
        "http": format_datetime(moment, usegmt=True),
        "iso": moment.isoformat().replace("+00:00", "Z"),
        "unix": str(int(moment.timestamp())),
        "unix_ms": str(int(moment.timestamp() * 1000)),
    }[form]
    assert 80 < retry_after.wait_s({"retry-after": written}) <= 101


def test_a_moment_that_has_passed() -> None:
    assert retry_after.wait_s({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}) == 1


def test_no_header_is_no_statement() -> None:
    assert retry_after.stated_s({}) is None
    assert retry_after.stated_s({"retry-after": "x"}) is None
    assert retry_after.stated_s({"retry-after": "2"}) == 2.0
