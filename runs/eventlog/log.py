"""The durable log of a run's events: one Redis Stream a run, appended by whoever executes it, read by any process.

An entry's id is `<position>-0`, the position in the run of the last event in it, and so the SSE id of that event. What
arrived together lies in one entry, one JSON object a line.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.conf import settings

from lunaos.infra.redis import ResponseError, async_event_log, event_log

# Bytes by run, and their sum (`runs.eventlog.capacity`).
SIZES_KEY, TOTAL_KEY = "lunaos:event-logs", "lunaos:event-log-bytes"
# Measured: what an entry takes beside its lines, and a log beside its entries.
ENTRY_OVERHEAD_BYTES, LOG_OVERHEAD_BYTES = 64, 4400

# Appends only where the log still ends where the writer thinks (a compare-and-set), so that a writer learns of what a
# crashed server has forgotten, and never for an execution that was taken over (the fence). Answers whether it did, and
# where the log ends; -1 for who was taken over. What all logs take is kept count of, and refused above the bound.
_APPEND_SCRIPT = f"""
    local fence, last = redis.call('GET', KEYS[2]), 0
    if fence and tonumber(fence) > tonumber(ARGV[5]) then return {{0, -1}} end
    local top = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)
    if #top > 0 then last = tonumber(string.match(top[1][1], '^%d+')) end
    if last ~= tonumber(ARGV[1]) then return {{0, last}} end
    local size = #ARGV[3] + {ENTRY_OVERHEAD_BYTES}
    if #top == 0 then size = size + {LOG_OVERHEAD_BYTES} end
    if tonumber(redis.call('GET', KEYS[4]) or 0) + size > tonumber(ARGV[7]) then
        return redis.error_reply('FULL the event logs have reached their bound')
    end
    redis.call('XADD', KEYS[1], ARGV[2] .. '-0', 'e', ARGV[3])
    redis.call('EXPIRE', KEYS[1], ARGV[4])
    redis.call('HINCRBY', KEYS[3], ARGV[6], size)
    redis.call('INCRBY', KEYS[4], size)
    redis.call('PUBLISH', KEYS[1], ARGV[2])
    return {{1, tonumber(ARGV[2])}}
"""
FENCED = -1
MAX_SAMPLED_LOGS = 200  # logs that are weighed
HIGHEST_ATTEMPT = 2**31  # higher than any

NumberedEvent = tuple[int, bytes]


@dataclass(frozen=True, slots=True)
class AppendRequest:
    """Events to append to a run's log.

    Args:
        after: position of the event before the first of them.
        lines: one JSON object each; at least one.
        attempt: which execution of the run writes.
        ttl_s: for how long the log is kept from now on; None for as long as that of a run under way.
    """

    run_id: UUID
    after: int
    lines: Sequence[bytes]
    attempt: int
    ttl_s: int | None = None

    @property
    def last_position(self) -> int:
        """Position of the last of them."""
        return self.after + len(self.lines)


@dataclass(frozen=True, slots=True)
class AppendResult:
    """What became of an append.

    Args:
        last_position: position of the last event that the log holds now; FENCED where another execution writes.
    """

    appended: bool
    last_position: int


def channel(run_id: UUID | str) -> str:
    """Where each append is published; the name of the log's key too."""
    return f"lunaos:events:{run_id}"


def choose_ttl_s(*, ended: bool) -> int:
    """Return for how many seconds a log is kept.

    Args:
        ended: whether PostgreSQL has the run's outcome and events, where readers find them when the log is gone.
    """
    return settings.ENDED_EVENT_LOG_TTL_S if ended else settings.EVENT_LOG_TTL_S


def _fence_key(run_id: UUID) -> str:
    return f"lunaos:events:{run_id}:attempt"


async def append(*appends: AppendRequest) -> list[AppendResult | None]:
    """Append events, of several runs in one round trip.

    Returns:
        An answer for each, in order; None where the server refused it, as when it is full.

    Raises:
        RedisError: they may have been appended or not.
    """
    async with async_event_log().pipeline(transaction=False) as pipeline:
        for each in appends:
            ttl_s = each.ttl_s or settings.EVENT_LOG_TTL_S
            values = (each.after, each.last_position, b"\n".join(each.lines), ttl_s, each.attempt, str(each.run_id))
            keys = (channel(each.run_id), _fence_key(each.run_id), SIZES_KEY, TOTAL_KEY)
            pipeline.eval(_APPEND_SCRIPT, len(keys), *keys, *values, settings.ALL_EVENT_LOGS_MAX_BYTES)
        results = await pipeline.execute(raise_on_error=False)
    return [None if isinstance(found, ResponseError) else AppendResult(bool(found[0]), found[1]) for found in results]


async def fence(run_id: UUID, attempt: int) -> list[NumberedEvent]:
    """Read the whole log, and have it refuse what an earlier execution may still want to append.

    Raises:
        RedisError: the server cannot be reached.
    """
    await async_event_log().set(_fence_key(run_id), attempt, ex=settings.EVENT_LOG_TTL_S)
    return await read(run_id)


async def delete(run_ids: Sequence[UUID]) -> None:
    """Delete the logs of runs, and have them refuse whatever an execution may still want to append.

    Raises:
        RedisError: the server cannot be reached.
    """
    async with async_event_log().pipeline(transaction=False) as pipeline:
        for run_id in run_ids:
            pipeline.set(_fence_key(run_id), HIGHEST_ATTEMPT, ex=settings.EVENT_LOG_TTL_S)
            pipeline.delete(channel(run_id))
        await pipeline.execute()


async def read(run_id: UUID, *, after: int = 0, limit: int | None = None) -> list[NumberedEvent]:
    """The events behind a position, each with its own; there are no gaps, since appending checks the end.

    Args:
        limit: appends to read, the earliest first; all where None.

    Raises:
        RedisError: the server cannot be reached.
    """
    found: list[NumberedEvent] = []
    entries: Any = await async_event_log().xrange(channel(run_id), min=f"{after + 1}-0", count=limit)
    for entry_id, fields in entries:
        lines = fields[b"e"].split(b"\n")
        first = int(entry_id.split(b"-")[0]) - len(lines) + 1
        found += [(position, line) for position, line in enumerate(lines, first) if position > after]
    return found


def size() -> tuple[int, int]:
    """How many logs there are, and their bytes: exact up to SAMPLE of them, an estimate from so many beyond.

    Raises:
        RedisError: the server cannot be reached.
    """
    names = list(event_log().scan_iter(match="lunaos:events:*", count=1000, _type="stream"))
    with event_log().pipeline(transaction=False) as pipeline:
        for name in names[:MAX_SAMPLED_LOGS]:
            pipeline.memory_usage(name, samples=0)
        weights = [weight or 0 for weight in pipeline.execute()]
    return len(names), sum(weights) * len(names) // max(1, len(weights))
