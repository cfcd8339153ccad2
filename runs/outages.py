"""Outages of the database, as those see them who take runs from silent executors.

While the database was away no executor could show life. For some heartbeats after that, all are believed to be alive.
"""

import time
from collections.abc import Callable
from typing import TypeVar

from django.conf import settings

from lunaos.infra import redis
from lunaos.infra.database import AWAY

OUTAGE_KEY = "lunaos:chains-database-away"
SLOW_QUERY_S = 2.0  # an answer that took longer came from a database that hung, as for a lock
Result = TypeVar("Result")


def run_query(ask: Callable[[], Result]) -> Result:
    """Ask the database; note an outage where it is away, refuses or hangs.

    Raises:
        OperationalError, InterfaceError: it is away.
        RedisError: the outage cannot be noted.
    """
    started = time.monotonic()
    try:
        answer = ask()
    except AWAY:
        _record()
        raise
    if time.monotonic() - started > SLOW_QUERY_S:
        _record()
    return answer


def is_recent() -> bool:
    """Return whether an outage has been noted within the last few heartbeats.

    Raises:
        RedisError: it cannot be known.
    """
    return bool(redis.client().exists(OUTAGE_KEY))


def _record() -> None:
    redis.client().set(OUTAGE_KEY, 1, px=round(3 * settings.HEARTBEAT_S * 1000))
