"""Account for the bytes of all event logs, and keep them below their limit."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar
from uuid import UUID

from django.conf import settings

from accounts.auditlog import alerts
from lunaos.errors import ServiceUnavailable
from lunaos.infra import redis
from lunaos.infra.ttl_cache import TtlCache
from runs.eventlog import log
from runs.models import UNFINISHED, Run

# Valkey never evicts a log. Each append adds its bytes (`runs.eventlog.log`); `sweep` subtracts the logs that are gone.
REFUSE_RUNS_FROM_PERCENT = 80
ALERT_FROM_PERCENT = 80  # of the event logs' limit, and of the memory of the Valkey server that counts limits
RETRY_AFTER_S = 30  # logs are shortened two minutes after their run's end
BATCH_SIZE = 500
Item = TypeVar("Item")

# The first script subtracts logs that are gone; the second adds logs of an older release, which did not account.
_UNCOUNT_DELETED_SCRIPT = """
    for i = 3, #KEYS do
        local size = redis.call('HGET', KEYS[1], ARGV[i - 2])
        if size and redis.call('EXISTS', KEYS[i]) == 0 then
            redis.call('HDEL', KEYS[1], ARGV[i - 2])
            redis.call('DECRBY', KEYS[2], size)
        end
    end
"""
_COUNT_UNKNOWN_SCRIPT = """
    local size = redis.call('MEMORY', 'USAGE', KEYS[3])
    if size and redis.call('HSETNX', KEYS[1], ARGV[1], size) == 1 then redis.call('INCRBY', KEYS[2], size) end
"""


@dataclass(frozen=True, slots=True)
class EventLogUsage:
    used_bytes: int  # by our accounting
    max_bytes: int  # limit on their sum

    @property
    def percent(self) -> int:
        return 100 * self.used_bytes // self.max_bytes

    @property
    def refuses_runs(self) -> bool:
        return self.percent >= REFUSE_RUNS_FROM_PERCENT


def measure() -> EventLogUsage:
    return EventLogUsage(int(redis.event_log().get(log.TOTAL_KEY) or 0), settings.ALL_EVENT_LOGS_MAX_BYTES)


def _measure_or_zero() -> EventLogUsage:
    try:
        return measure()
    except (redis.RedisError, OSError):  # runs work without a log
        return EventLogUsage(0, settings.ALL_EVENT_LOGS_MAX_BYTES)


cached_usage = TtlCache(_measure_or_zero)


def require() -> None:
    """Refuse a new run with ServiceUnavailable if the event logs are nearly full."""
    if cached_usage().refuses_runs:
        raise ServiceUnavailable(
            f"The event logs of this server are full. Try again in {RETRY_AFTER_S} seconds.", retry_after=RETRY_AFTER_S
        )


def sweep() -> EventLogUsage:
    """Correct the accounting, shorten the logs of ended runs, and return the usage."""
    for names in _batches(_log_keys()):
        # Logs of an older release, which did not account.
        _count_unknown(names)
    for run_ids in _batches(_counted_run_ids()):
        _expire_ended(run_ids)
        keys = (log.SIZES_KEY, log.TOTAL_KEY, *map(log.channel, run_ids))
        redis.event_log().eval(_UNCOUNT_DELETED_SCRIPT, len(keys), *keys, *map(str, run_ids))
    return measure()


def send_alerts(found: EventLogUsage) -> None:
    """Alert the operators if the event logs or Valkey are nearly full."""
    if found.percent >= ALERT_FROM_PERCENT:
        message = f"Event logs take {found.percent} % of LUNAOS_EVENT_LOG_MB. From 80 % on no run begins."
        alerts.send("event_logs_full", message, bytes=found.used_bytes, bound=found.max_bytes)
    # The server that counts limits, which may be another one than that of the event logs.
    memory = redis.client().info("memory")
    used, limit = memory["used_memory"], memory["maxmemory"]
    if limit and 100 * used >= ALERT_FROM_PERCENT * limit:
        message = f"Valkey takes {100 * used // limit} % of its memory. When it is full limits are not counted."
        alerts.send("valkey_full", message, used=used, limit=limit)


def _batches(items: Iterable[Item]) -> Iterator[tuple[Item, ...]]:
    rest = iter(items)
    while batch := tuple(islice(rest, BATCH_SIZE)):
        yield batch


def _log_keys() -> Iterator[str]:
    for name in redis.event_log().scan_iter(match=log.channel("*"), count=1000, _type="stream"):
        yield name.decode()


def _counted_run_ids() -> Iterator[UUID]:
    for name, _ in redis.event_log().hscan_iter(log.SIZES_KEY, count=1000):
        yield UUID(name.decode())


def _count_unknown(names: tuple[str, ...]) -> None:
    known = redis.event_log().hmget(log.SIZES_KEY, [_run_id(name) for name in names])
    for name, size in zip(names, known, strict=True):
        if size is None:
            redis.event_log().eval(_COUNT_UNKNOWN_SCRIPT, 3, log.SIZES_KEY, log.TOTAL_KEY, name, _run_id(name))


def _run_id(name: str) -> str:
    return name.removeprefix(log.channel(""))


def _expire_ended(run_ids: tuple[UUID, ...]) -> None:
    # The last append of an ended run may have failed, and left the long lifetime of a run under way.
    under_way = set(Run.objects.filter(pk__in=run_ids, status__in=UNFINISHED).values_list("pk", flat=True))
    with redis.event_log().pipeline(transaction=False) as pipeline:
        for run_id in set(run_ids) - under_way:
            pipeline.expire(log.channel(run_id), settings.ENDED_EVENT_LOG_TTL_S, lt=True)
        pipeline.execute()
