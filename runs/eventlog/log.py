"""The durable log of a run's events: one Redis Stream per run.

Its executor writes it, any process reads it. The id of a stream entry is `<position>-0`. The position is that of the
entry's last event in the run and equals the event's SSE id. Events that are appended together lie in one entry, one
JSON object a line. All functions but `channel` and `choose_ttl_s` raise RedisError if the server cannot be reached.
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

# Appends only if the log ends at the position that the writer expects (compare-and-set), so that a writer notices
# events that a crashed server has lost. Refuses executions below the fence. Returns whether it has appended, and the
# position of the last event; -1 for a fenced execution. Counts the bytes of all logs, and fails above their limit.
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
MAX_SAMPLED_LOGS = 200  # whose memory `size` measures
HIGHEST_ATTEMPT = 2**31  # above the number of any execution

NumberedEvent = tuple[int, bytes]


@dataclass(frozen=True, slots=True)
class AppendRequest:
    """Events to append to a run's log."""

    run_id: UUID
    after: int  # position of the event before the first line; 0 for an empty log
    lines: Sequence[bytes]  # one JSON object each; at least one
    attempt: int  # number of the execution that writes
    # Seconds until the log expires, counted from this append; None for the time of a run under way
    ttl_s: int | None = None

    @property
    def last_position(self) -> int:
        """Return the position of the last line."""
        return self.after + len(self.lines)


@dataclass(frozen=True, slots=True)
class AppendResult:
    """The result of an append."""

    appended: bool
    last_position: int  # position of the last event in the log; FENCED if another execution has taken the run over


def channel(run_id: UUID | str) -> str:
    """Return the key of a run's log, which is also its pub/sub channel."""
    return f"lunaos:events:{run_id}"


def choose_ttl_s(*, ended: bool) -> int:
    """Return the seconds until a log expires."""
    # An ended run has its outcome and events in PostgreSQL, where readers find them once the log is gone.
    return settings.ENDED_EVENT_LOG_TTL_S if ended else settings.EVENT_LOG_TTL_S


def _fence_key(run_id: UUID) -> str:
    return f"lunaos:events:{run_id}:attempt"


async def append(*appends: AppendRequest) -> list[AppendResult | None]:
    """Append events of several runs in one round trip.

    Returns:
        One result per request, in order; None if the server refused the request, for example because it is full.
    """
    async with async_event_log().pipeline(transaction=False) as pipeline:
        for each in appends:
            ttl_s = each.ttl_s or settings.EVENT_LOG_TTL_S
            values = (each.after, each.last_position, b"\n".join(each.lines), ttl_s, each.attempt, str(each.run_id))
            keys = (channel(each.run_id), _fence_key(each.run_id), SIZES_KEY, TOTAL_KEY)
            pipeline.eval(_APPEND_SCRIPT, len(keys), *keys, *values, settings.ALL_EVENT_LOGS_MAX_BYTES)
        # after a RedisError the events may have been appended or not
        results = await pipeline.execute(raise_on_error=False)
    return [None if isinstance(found, ResponseError) else AppendResult(bool(found[0]), found[1]) for found in results]


async def fence(run_id: UUID, attempt: int) -> list[NumberedEvent]:
    """Refuse further appends of earlier executions, and return the whole log."""
    await async_event_log().set(_fence_key(run_id), attempt, ex=settings.EVENT_LOG_TTL_S)
    return await read(run_id)


async def delete(run_ids: Sequence[UUID]) -> None:
    """Delete the logs of runs, and refuse further appends of any execution."""
    async with async_event_log().pipeline(transaction=False) as pipeline:
        for run_id in run_ids:
            pipeline.set(_fence_key(run_id), HIGHEST_ATTEMPT, ex=settings.EVENT_LOG_TTL_S)
            pipeline.delete(channel(run_id))
        await pipeline.execute()


async def read(run_id: UUID, *, after: int = 0, limit: int | None = None) -> list[NumberedEvent]:
    """Return the events after a position, each with its own position, without gaps.

    Args:
        run_id: the run of the log.
        after: position of the last event to leave out.
        limit: maximum number of appends to read, the earliest first; None for all.
    """
    found: list[NumberedEvent] = []
    entries: Any = await async_event_log().xrange(channel(run_id), min=f"{after + 1}-0", count=limit)
    for entry_id, fields in entries:
        lines = fields[b"e"].split(b"\n")
        first = int(entry_id.split(b"-")[0]) - len(lines) + 1
        found += [(position, line) for position, line in enumerate(lines, first) if position > after]
    return found


def size() -> tuple[int, int]:
    """Return the number of logs and their bytes."""
    # Above MAX_SAMPLED_LOGS logs the bytes are an estimate.
    names = list(event_log().scan_iter(match="lunaos:events:*", count=1000, _type="stream"))
    with event_log().pipeline(transaction=False) as pipeline:
        for name in names[:MAX_SAMPLED_LOGS]:
            pipeline.memory_usage(name, samples=0)
        weights = [weight or 0 for weight in pipeline.execute()]
    return len(names), sum(weights) * len(names) // max(1, len(weights))
