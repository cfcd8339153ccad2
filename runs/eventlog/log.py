"""The durable log of a run's events: one Redis Stream per run.

Its executor writes it, any process reads it. All functions but `channel` and `choose_ttl_s` raise RedisError if the
server cannot be reached.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.conf import settings

from lunaos.infra.redis import ResponseError, async_event_log, event_log

# Bytes by run, and their sum (`runs.eventlog.capacity`).
SIZES_KEY, TOTAL_KEY = "lunaos:event-logs", "lunaos:event-log-bytes"
# Measured: what an entry takes beside its lines, and a log beside its entries.
ENTRY_OVERHEAD_BYTES, LOG_OVERHEAD_BYTES = 64, 4400

# The id of a stream entry is `<position>-0`, the position and SSE id of its last event. Events that are appended
# together lie in one entry, one JSON object a line.
MAX_ENTRY_BYTES = 65_536  # unless a single event is longer
PIECE_BYTES = 262_144  # bounds the memory of a reader whose client does not read
ENTRIES_PER_READ = 16

# Appends only if the log ends at the position that the writer expects (compare-and-set), so that a writer notices
# events that a crashed server has lost. Refuses executions below the fence. Returns whether it has appended, and the
# position of the last event; -1 for a fenced execution. Counts the bytes of all logs, and fails above their limit.
_APPEND_SCRIPT = f"""
    local fence, last = redis.call('GET', KEYS[2]), 0
    if fence and tonumber(fence) > tonumber(ARGV[4]) then return {{0, -1}} end
    local top = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)
    if #top > 0 then last = tonumber(string.match(top[1][1], '^%d+')) end
    if last ~= tonumber(ARGV[1]) then return {{0, last}} end
    local size = 0
    if #top == 0 then size = {LOG_OVERHEAD_BYTES} end
    for i = 7, #ARGV, 2 do size = size + #ARGV[i + 1] + {ENTRY_OVERHEAD_BYTES} end
    if tonumber(redis.call('GET', KEYS[4]) or 0) + size > tonumber(ARGV[6]) then
        return redis.error_reply('FULL the event logs have reached their bound')
    end
    for i = 7, #ARGV, 2 do redis.call('XADD', KEYS[1], ARGV[i] .. '-0', 'e', ARGV[i + 1]) end
    redis.call('EXPIRE', KEYS[1], ARGV[3])
    redis.call('HINCRBY', KEYS[3], ARGV[5], size)
    redis.call('INCRBY', KEYS[4], size)
    redis.call('PUBLISH', KEYS[1], ARGV[2])
    return {{1, tonumber(ARGV[2])}}
"""
# Returns entries from a position on until they exceed a number of bytes, so that a reader's memory is bounded.
_READ_PIECE_SCRIPT = f"""
    local found, bytes, start = {{}}, 0, ARGV[1]
    while true do
        local entries = redis.call('XRANGE', KEYS[1], start, '+', 'COUNT', {ENTRIES_PER_READ})
        for _, entry in ipairs(entries) do
            found[#found + 1] = entry
            bytes = bytes + #entry[2][2]
            if bytes >= tonumber(ARGV[2]) then return found end
        end
        if #entries < {ENTRIES_PER_READ} then return found end
        start = '(' .. entries[#entries][1]
    end
"""
FENCED = -1
MAX_SAMPLED_LOGS = 200  # whose memory `size` measures
HIGHEST_ATTEMPT = 2**31  # above the number of any execution

NumberedEvent = tuple[int, bytes]


@dataclass(frozen=True, slots=True)
class AppendRequest:
    run_id: UUID
    after: int  # position of the event before the first line; 0 for an empty log
    lines: Sequence[bytes]  # one JSON object each; at least one
    attempt: int  # number of the execution that writes
    # Seconds until the log expires, counted from this append; None for the time of a run under way
    ttl_s: int | None = None

    @property
    def last_position(self) -> int:
        return self.after + len(self.lines)


@dataclass(frozen=True, slots=True)
class AppendResult:
    appended: bool
    last_position: int  # position of the last event in the log; FENCED if another execution has taken the run over


def channel(run_id: UUID | str) -> str:
    """Return the key of a run's log, which is also its pub/sub channel."""
    return f"lunaos:events:{run_id}"


def choose_ttl_s(*, ended: bool) -> int:
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
            max_bytes = settings.ALL_EVENT_LOGS_MAX_BYTES
            values = (each.after, each.last_position, ttl_s, each.attempt, str(each.run_id), max_bytes)
            keys = (channel(each.run_id), _fence_key(each.run_id), SIZES_KEY, TOTAL_KEY)
            pipeline.eval(_APPEND_SCRIPT, len(keys), *keys, *values, *_entries(each))
        # after a RedisError the events may have been appended or not
        results = await pipeline.execute(raise_on_error=False)
    return [None if isinstance(found, ResponseError) else AppendResult(bool(found[0]), found[1]) for found in results]


def _entries(request: AppendRequest) -> Iterator[int | bytes]:
    lines, size = list[bytes](), 0
    for position, line in enumerate(request.lines, request.after + 1):
        lines.append(line)
        size += len(line)
        # A reader takes whole entries, so their size bounds its memory.
        if size >= MAX_ENTRY_BYTES or position == request.last_position:
            yield position
            yield b"\n".join(lines)
            lines, size = [], 0


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


async def read(run_id: UUID, *, after: int = 0) -> list[NumberedEvent]:
    """Return the events after a position, each with its own position, without gaps."""
    return _after(after, await async_event_log().xrange(channel(run_id), min=f"{after + 1}-0"))


async def read_piece(run_id: UUID, *, after: int = 0) -> list[NumberedEvent]:
    """Return the first events after a position: about PIECE_BYTES, at least one."""
    values = (f"{after + 1}-0", PIECE_BYTES)
    return _after(after, await async_event_log().eval(_READ_PIECE_SCRIPT, 1, channel(run_id), *values))


def _after(after: int, entries: Any) -> list[NumberedEvent]:
    # the fields of an entry are a dictionary, or a flat list from a script
    found: list[NumberedEvent] = []
    for entry_id, fields in entries:
        lines = (fields[b"e"] if isinstance(fields, dict) else fields[1]).split(b"\n")
        first = int(entry_id.split(b"-")[0]) - len(lines) + 1
        found += [(position, line) for position, line in enumerate(lines, first) if position > after]
    return found


def size() -> tuple[int, int]:
    """Return the number of logs and their bytes, above MAX_SAMPLED_LOGS estimated."""
    names = list(event_log().scan_iter(match="lunaos:events:*", count=1000, _type="stream"))
    with event_log().pipeline(transaction=False) as pipeline:
        for name in names[:MAX_SAMPLED_LOGS]:
            pipeline.memory_usage(name, samples=0)
        weights = [weight or 0 for weight in pipeline.execute()]
    return len(names), sum(weights) * len(names) // max(1, len(weights))
