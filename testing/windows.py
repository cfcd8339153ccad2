"""Subjects whose fixed window has time left, for tests that count in one window."""

import time
import zlib
from collections.abc import Callable
from typing import Any


def seconds_left(subject: str, period: int) -> int:
    """Return the seconds until a subject's window ends."""
    now = int(time.time())
    # django-ratelimit staggers windows by subject.
    end = now - now % period + zlib.crc32(subject.encode()) % period
    return (end if end >= now else end + period) - now


def address_with_time_left(period: int, need_s: int = 15) -> str:
    addresses = (f"127.0.0.{n}" for n in range(2, 255))
    return next(address for address in addresses if seconds_left(address, period) > need_s)


def user_with_time_left(make_user: Callable[[], Any], period: int = 60, need_s: int = 15) -> Any:
    user = make_user()
    while seconds_left(str(user.pk), period) < need_s:
        user = make_user()
    return user
