"""The durable log of a run's events: one Redis Stream a run, appended by whoever executes it, read by any process.

An entry's id is `<position>-0`, the position in the run of the last event in it, and so the SSE id of that event. What
arrived together lies in one entry of at most MAX_ENTRY_BYTES, one JSON object a line.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.conf import settings

from lunaos.infra.redis import ResponseError, async_event_log, event_log

SIZES, TOTAL = "lunaos:event-logs", "lunaos:event-log-bytes"  # bytes by run, and their sum: `runs.eventlog.capacity`
ENTRY_BYTES, LOG_BYTES = 64, 4400  # what an entry takes beside its lines, and a log beside its entries; measured

MAX_ENTRY_BYTES = 65_536  # unless a single event is longer
PIECE_BYTES = 262_144  # what a reader holds while its client reads nothing
ENTRIES_A_STEP = 16

# Appends only where the log still ends where the writer thinks (a compare-and-set), so that a writer learns of what a
# crashed server has forgotten, and never for an execution that was taken over (the fence). Answers whether it did, and
# where the log ends; -1 for who was taken over. What all logs take is kept count of, and refused above the bound.
_APPEND = f"""
    local fence, last = redis.call('GET', KEYS[2]), 0
    if fence and tonumber(fence) > tonumber(ARGV[4]) then return {{0, -1}} end
    local top = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)
    if #top > 0 then last = tonumber(string.match(top[1][1], '^%d+')) end
    if last ~= tonumber(ARGV[1]) then return {{0, last}} end
    local size = 0
    if #top == 0 then size = {LOG_BYTES} end
    for i = 7, #ARGV, 2 do size = size + #ARGV[i + 1] + {ENTRY_BYTES} end
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
_READ_PIECE = f"""
    local found, bytes, start = {{}}, 0, ARGV[1]
    while true do
        local entries = redis.call('XRANGE', KEYS[1], start, '+', 'COUNT', {ENTRIES_A_STEP})
        for _, entry in ipairs(entries) do
            found[#found + 1] = entry
            bytes = bytes + #entry[2][2]
            if bytes >= tonumber(ARGV[2]) then return found end
        end
        if #entries < {ENTRIES_A_STEP} then return found end
        start = '(' .. entries[#entries][1]
    end
"""
TAKEN_OVER = -1
SAMPLE = 200  # logs that are weighed
NO_ATTEMPT = 2**31  # higher than any

Entry = tuple[int, bytes]


@dataclass(frozen=True, slots=True)
class Append:
    """Events to append to a run's log.

    Args:
        after: position of the event before the first of them.
        lines: one JSON object each; at least one.
        attempt: which execution of the run writes.
        kept_s: for how long the log is kept from now on; None for as long as that of a run under way.
    """

    run_id: UUID
    after: int
    lines: Sequence[bytes]
    attempt: int
    kept_s: int | None = None

    @property
    def end(self) -> int:
        """Position of the last of them."""
        return self.after + len(self.lines)


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of an append.

    Args:
        end: position of the last event that the log holds now; TAKEN_OVER where another execution writes.
    """

    appended: bool
    end: int


def channel(run_id: UUID | str) -> str:
    """Where each append is published; the name of the log's key too."""
    return f"lunaos:events:{run_id}"


def kept_s(*, ended: bool) -> int:
    """Return for how many seconds a log is kept.

    Args:
        ended: whether PostgreSQL has the run's outcome and events, where readers find them when the log is gone.
    """
    return settings.EVENT_LOG_ENDED_KEPT_S if ended else settings.EVENT_LOG_KEPT_S


def _fence(run_id: UUID) -> str:
    return f"lunaos:events:{run_id}:attempt"


async def append(*appends: Append) -> list[Answer | None]:
    """Append events, of several runs in one round trip.

    Returns:
        An answer for each, in order; None where the server refused it, as when it is full.

    Raises:
        RedisError: they may have been appended or not.
    """
    async with async_event_log().pipeline(transaction=False) as pipeline:
        for each in appends:
            kept = each.kept_s or settings.EVENT_LOG_KEPT_S
            values = (each.after, each.end, kept, each.attempt, str(each.run_id), settings.EVENT_LOG_BOUND_BYTES)
            keys = (channel(each.run_id), _fence(each.run_id), SIZES, TOTAL)
            pipeline.eval(_APPEND, len(keys), *keys, *values, *_entries(each))
        answers = await pipeline.execute(raise_on_error=False)
    return [None if isinstance(found, ResponseError) else Answer(bool(found[0]), found[1]) for found in answers]


def _entries(append: Append) -> Iterator[int | bytes]:
    """Yield the position and the text of each entry in turn."""
    lines, size = list[bytes](), 0
    for position, line in enumerate(append.lines, append.after + 1):
        lines.append(line)
        size += len(line)
        if size >= MAX_ENTRY_BYTES or position == append.end:
            yield position
            yield b"\n".join(lines)
            lines, size = [], 0


async def take_over(run_id: UUID, attempt: int) -> list[Entry]:
    """Read the whole log, and have it refuse what an earlier execution may still want to append.

    Raises:
        RedisError: the server cannot be reached.
    """
    await async_event_log().set(_fence(run_id), attempt, ex=settings.EVENT_LOG_KEPT_S)
    return await read(run_id)


async def forget(run_ids: Sequence[UUID]) -> None:
    """Delete the logs of runs, and have them refuse whatever an execution may still want to append.

    Raises:
        RedisError: the server cannot be reached.
    """
    async with async_event_log().pipeline(transaction=False) as pipeline:
        for run_id in run_ids:
            pipeline.set(_fence(run_id), NO_ATTEMPT, ex=settings.EVENT_LOG_KEPT_S)
            pipeline.delete(channel(run_id))
        await pipeline.execute()


async def read(run_id: UUID, *, after: int = 0) -> list[Entry]:
    """The events behind a position, each with its own; there are no gaps, since appending checks the end.

    Raises:
        RedisError: the server cannot be reached.
    """
    return _behind(after, await async_event_log().xrange(channel(run_id), min=f"{after + 1}-0"))


async def read_piece(run_id: UUID, *, after: int = 0) -> list[Entry]:
    """Read the first events behind a position: about PIECE_BYTES, and one at least where there are any.

    Raises:
        RedisError: the server cannot be reached.
    """
    values = (f"{after + 1}-0", PIECE_BYTES)
    return _behind(after, await async_event_log().eval(_READ_PIECE, 1, channel(run_id), *values))


def _behind(after: int, entries: Any) -> list[Entry]:
    """Return the events of entries, without those up to a position; fields are a dictionary or a flat list."""
    found: list[Entry] = []
    for entry_id, fields in entries:
        lines = (fields[b"e"] if isinstance(fields, dict) else fields[1]).split(b"\n")
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
        for name in names[:SAMPLE]:
            pipeline.memory_usage(name, samples=0)
        weights = [weight or 0 for weight in pipeline.execute()]
    return len(names), sum(weights) * len(names) // max(1, len(weights))
