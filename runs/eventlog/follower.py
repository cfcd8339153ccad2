"""Follow a run's events from its recorder, the log, or the database."""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress

from django.db import OperationalError

from lunaos.event_lines import TERMINAL, type_of
from lunaos.infra import database, pubsub
from lunaos.infra.redis import RedisError
from runs import executors
from runs.errors import EventsExpired
from runs.eventlog import log
from runs.eventlog.log import NumberedEvent
from runs.eventlog.recorder import Recorder
from runs.models import UNFINISHED, Run
from runs.replay import Replay

# Until the first text or the end, a failure of the run keeps its HTTP status.
OPENING = TERMINAL | {"chunk"}
MAX_OUTAGE_S = 10.0  # of the log and the database together; then the reader fails
DATABASE_TIMEOUT_S = 2.0  # a later response is dropped, and the query repeated
POLL_INTERVAL_S = 2.0  # the log wakes its followers; polling makes up for notices that a broken connection lost


class RunFollower:
    """A reader of a run's events, in order, each once, across changes of the source.

    Args:
        after: position of the last event that the reader has already.
        recorder: the run's recorder if the caller has it; it may have closed.
    """

    def __init__(self, run: Run, after: int = 0, recorder: Recorder | None = None) -> None:
        self._run = run
        self._position = after
        self._recorder = recorder or executors.find_recorder(run.pk)
        self._wake_up = asyncio.Event()
        self._stop_listening: Callable[[], None] | None = None
        self._polled_at = 0.0
        self._replay = Replay(run)
        self._replaying = False  # True between two pieces out of the database
        self._log_down_since: float | None = None
        self._ended = False

    async def read(self, within_s: float) -> list[NumberedEvent] | None:
        """Return the next events with their positions; None after the last.

        Returns:
            An empty list if no event came within the time.

        Raises:
            EventsExpired: the events are no longer kept.
            OperationalError, RedisError: neither the log nor the database can be reached.
        """
        deadline = time.monotonic() + within_s
        self._listen()
        while True:
            self._wake_up.clear()
            entries = await self._fetch()
            if entries is None:
                return None
            if entries:
                return self._deliver(entries)
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                return []
            await self._wait(left_s if self._recorder else min(left_s, POLL_INTERVAL_S))

    def close(self) -> None:
        if self._recorder:
            self._recorder.readers.discard(self._wake_up)
        if self._stop_listening:
            self._stop_listening()
            self._stop_listening = None

    def _listen(self) -> None:
        if self._recorder:
            self._recorder.readers.add(self._wake_up)
        elif self._stop_listening is None:
            self._stop_listening = pubsub.subscribe(
                log.channel(self._run.pk), lambda _: self._wake_up.set(), event_log=True
            )

    async def _wait(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._wake_up.wait()

    async def _fetch(self) -> list[NumberedEvent] | None:
        if self._ended:
            return None
        if self._recorder:
            lines, shown = self._recorder.lines, self._recorder.shown
            if shown > self._position or not self._recorder.closed:
                return list(enumerate(lines[self._position : shown], self._position + 1))
            self._recorder = None  # closed without a terminal event: another execution writes it
            self._listen()
        return (not self._replaying and await self._from_log()) or await self._from_database()

    async def _from_log(self) -> list[NumberedEvent]:
        try:
            entries = more = await log.read_piece(self._run.pk, after=self._position)
            while more and type_of(more[-1][1]) == "error":  # of a resumed chain, or the last of all
                more = await log.read_piece(self._run.pk, after=more[-1][0])
                entries = entries[:-1] + more if more else entries
        except (RedisError, OSError):
            self._log_down_since = self._log_down_since or time.monotonic()
            return []
        self._log_down_since = None
        return entries

    async def _from_database(self) -> list[NumberedEvent] | None:
        if not self._replaying and time.monotonic() - self._polled_at < POLL_INTERVAL_S:
            return []
        self._polled_at, self._replaying = time.monotonic(), False
        try:
            while not (entries := await self._next_stored()) and self._replaying:
                pass
        except (TimeoutError, *database.OUTAGES) as e:
            self._replaying = False
            if self._log_down_since and time.monotonic() - self._log_down_since > MAX_OUTAGE_S:
                raise OperationalError("The database does not answer.") from e
            return await self._end_if_complete()
        return entries

    async def _next_stored(self) -> list[NumberedEvent] | None:
        async with asyncio.timeout(DATABASE_TIMEOUT_S):  # a reader must get heartbeats meanwhile
            # Only `split` below advances: a read that was given up goes on in its thread.
            piece = await database.call(self._replay.fetch)
        if piece.status in UNFINISHED:
            self._replaying = False
            return await self._end_if_complete()
        if piece.content is None:
            raise EventsExpired()
        entries = self._replay.split(piece)
        self._ended = self._replay.ended
        self._replaying = not self._ended
        if self._ended and self._position > self._replay.position:
            # a reader may be ahead, because Valkey has lost events that it had shown: it gets the last event again
            self._position = self._replay.position - 1
        unread = [entry for entry in entries if entry[0] > self._position]
        if self._replaying:
            return [entry for entry in unread if type_of(entry[1]) != "error"]  # of a resumed chain
        return unread or None

    async def _end_if_complete(self) -> list[NumberedEvent] | None:
        # The log may have an end that the database lacks while it is away.
        if self._position == 0 or self._log_down_since:
            return []
        with suppress(RedisError, OSError):
            entries = await log.read(self._run.pk, after=self._position - 1)
            # a chain that ended with `error` may have been resumed
            final = TERMINAL - {"error"} if self._run.chain else TERMINAL
            if len(entries) == 1 and type_of(entries[0][1]) in final:
                return None
        return []

    def _deliver(self, entries: list[NumberedEvent]) -> list[NumberedEvent]:
        self._position, last = entries[-1]
        self._ended = self._ended or (type_of(last) in TERMINAL and not self._replaying)
        if not self._run.chain:
            return entries
        # a resumed chain has the `error` of its failure before its end
        return [entry for entry in entries[:-1] if type_of(entry[1]) != "error"] + entries[-1:]


def opens_stream(line: bytes) -> bool:
    """Return whether a stream's response may begin with this event."""
    return type_of(line) in OPENING
