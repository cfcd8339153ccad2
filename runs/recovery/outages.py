"""Outages of the database, recorded for the processes that take over silent runs."""

import time
from collections.abc import Callable
from typing import TypeVar

from django.conf import settings

from lunaos.infra import redis
from lunaos.infra.database import OUTAGES

# During an outage no executor can renew a lease. For some heartbeats after it, all executors count as alive.
OUTAGE_KEY = "lunaos:chains-database-away"
SLOW_QUERY_S = 2.0  # a slower query means that the database hung, for example on a lock
Result = TypeVar("Result")


def run_query(query: Callable[[], Result]) -> Result:
    """Run a query, and record an outage if the database fails or hangs."""
    started = time.monotonic()
    try:
        result = query()
    except OUTAGES:
        _record()
        raise
    if time.monotonic() - started > SLOW_QUERY_S:
        _record()
    return result


def is_recent() -> bool:
    """Return whether an outage was recorded within the last three heartbeats."""
    return bool(redis.client().exists(OUTAGE_KEY))


def _record() -> None:
    redis.client().set(OUTAGE_KEY, 1, px=round(3 * settings.HEARTBEAT_S * 1000))
