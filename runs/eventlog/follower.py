"""Following a run's events: from its recorder in this process, else from the log, else as they were stored."""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress

from django.db import OperationalError

from lunaos.infra import database, pubsub
from lunaos.infra.redis import RedisError
from runs import executors
from runs.errors import EventsExpired
from runs.eventlog import log
from runs.eventlog.log import Entry
from runs.eventlog.recorder import CHUNK, Recorder
from runs.models import UNFINISHED, Run
from runs.replay import Replay

LAST = (b'{"type":"done"', b'{"type":"chain_done"', b'{"type":"cancelled"', b'{"type":"error"')
PATIENCE_S = 10.0  # with a log and a database that are both out of reach
FETCH_WITHIN_S = 2.0  # from the database; what it says later is asked again
POLL_S = 2.0  # the log wakes its followers; this is for what a broken connection may have swallowed


class Follower:
    """Reads a run's events in order, each once, however the sources change meanwhile.

    An error that a resumed chain has left behind is passed over: it is the last event of a failed run only.

    Args:
        after: position of the last event that the reader has already.
        recorder: the run's, where the caller knows it; it may have ended by now.
    """

    def __init__(self, run: Run, after: int = 0, recorder: Recorder | None = None) -> None:
        self._run = run
        self._position = after
        self._recorder = recorder or executors.recorder_of(run.pk)
        self._news = asyncio.Event()
        self._stop_listening: Callable[[], None] | None = None
        self._asked_at = 0.0
        self._replay = Replay(run)
        self._replaying = False  # out of the database, whose last piece was not the run's last
        self._log_down_since: float | None = None
        self._ended = False

    async def read(self, within_s: float) -> list[Entry] | None:
        """The next events with their positions.

        Returns:
            An empty list where nothing came within the time; None when the run has ended and all has been read.

        Raises:
            EventsExpired: they are not kept any more.
            OperationalError, RedisError: neither the log nor the database can be reached.
        """
        deadline = time.monotonic() + within_s
        self._listen()
        while True:
            self._news.clear()
            entries = await self._fetch()
            if entries is None:
                return None
            if entries:
                return self._take(entries)
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                return []
            await self._wait(left_s if self._recorder else min(left_s, POLL_S))

    def close(self) -> None:
        """Stop listening."""
        if self._recorder:
            self._recorder.readers.discard(self._news)
        if self._stop_listening:
            self._stop_listening()
            self._stop_listening = None

    def _listen(self) -> None:
        if self._recorder:
            self._recorder.readers.add(self._news)
        elif self._stop_listening is None:
            self._stop_listening = pubsub.subscribe(
                log.channel(self._run.pk), lambda _: self._news.set(), event_log=True
            )

    async def _wait(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._news.wait()

    async def _fetch(self) -> list[Entry] | None:
        if self._ended:
            return None
        if self._recorder:
            lines, shown = self._recorder.lines, self._recorder.shown
            if shown > self._position or not self._recorder.closed:
                return list(enumerate(lines[self._position : shown], self._position + 1))
            self._recorder = None  # it ended without a last event: somebody else has, or will
            self._listen()
        return (not self._replaying and await self._from_log()) or await self._from_database()

    async def _from_log(self) -> list[Entry]:
        try:
            entries = more = await log.read_piece(self._run.pk, after=self._position)
            while more and more[-1][1].startswith(LAST[-1]):  # left behind by a resumed chain, or the last of all
                more = await log.read_piece(self._run.pk, after=more[-1][0])
                entries = entries[:-1] + more if more else entries
        except (RedisError, OSError):
            self._log_down_since = self._log_down_since or time.monotonic()
            return []
        self._log_down_since = None
        return entries

    async def _from_database(self) -> list[Entry] | None:
        if not self._replaying and time.monotonic() - self._asked_at < POLL_S:
            return []
        self._asked_at, self._replaying = time.monotonic(), False
        try:
            while not (entries := await self._next_stored()) and self._replaying:
                pass
        except (TimeoutError, *database.OUTAGES) as e:
            self._replaying = False
            if self._log_down_since and time.monotonic() - self._log_down_since > PATIENCE_S:
                raise OperationalError("The database does not answer.") from e
            return await self._unless_told()
        return entries

    async def _next_stored(self) -> list[Entry] | None:
        """Read one piece; an empty list where the reader has all of it or the run has not ended."""
        async with asyncio.timeout(FETCH_WITHIN_S):  # readers are to see that the connection lives
            piece = await database.call(self._replay.fetch)
        if piece.status in UNFINISHED:
            self._replaying = False
            return await self._unless_told()
        if piece.content is None:
            raise EventsExpired()
        entries = self._replay.take(piece)
        self._ended = self._replay.ended
        self._replaying = not self._ended
        if self._ended and self._position > self._replay.position:
            # who has more than there is, since Valkey has lost what it showed, is told how it ended
            self._position = self._replay.position - 1
        news = [entry for entry in entries if entry[0] > self._position]
        if self._replaying:
            return [entry for entry in news if not entry[1].startswith(LAST[-1])]  # left behind by a resumed chain
        return news or None

    async def _unless_told(self) -> list[Entry] | None:
        """Return None where the reader has the run's end from the log, which the database has not been told yet."""
        if self._position == 0 or self._log_down_since:
            return []
        with suppress(RedisError, OSError):
            entries = await log.read(self._run.pk, after=self._position - 1)
            if len(entries) == 1 and entries[0][1].startswith(LAST[:-1] if self._run.chain else LAST):
                return None
        return []

    def _take(self, entries: list[Entry]) -> list[Entry]:
        self._position, last = entries[-1]
        self._ended = self._ended or (last.startswith(LAST) and not self._replaying)
        return [entry for entry in entries[:-1] if not entry[1].startswith(LAST[-1])] + entries[-1:]


def opens(line: bytes) -> bool:
    """Return whether an event opens a stream: text, or an end. Until then a failure keeps its HTTP status."""
    return line.startswith((CHUNK, *LAST))
