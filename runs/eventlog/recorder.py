"""Records a run's events while it is executed: in memory for readers in this process, in the log for all others."""

import asyncio
import enum
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import orjson
from django.conf import settings

from runs.errors import OutputTooLong
from runs.eventlog import log, writer

Event = dict[str, Any]

CHUNK = b'{"type":"chunk"'


class Stop(enum.Enum):
    """Why an execution is to end before its time."""

    CANCELLED = "its owner asked for it"
    OVERTAKEN = "somebody else ended it or took it over"
    LEAVING = "this process is about to stop"


class Overtaken(Exception):
    """Somebody else executes this run now: stop, and write nothing more."""


def line_of(event: Event) -> bytes:
    """An event as JSON, in memory of its own size: what orjson returns takes 4 KB, and a run keeps many."""
    return memoryview(orjson.dumps(event)).tobytes()


class Recorder:
    """The one writer of a run; on the event loop only.

    Readers are shown an event when it is in the log, so that none can be seen by one reader and be missed by the next.
    Valkey's absence stops nothing: events are shown from memory and appended when it is back; at the run's end all of
    them are stored in the database as well.

    Args:
        attempt: which execution of the run this is, a takeover has a higher one; 0 until it is claimed.
    """

    def __init__(self, run_id: UUID, attempt: int = 1) -> None:
        self.run_id, self.attempt = run_id, attempt
        self.lines: list[bytes] = []
        self.shown = self.logged = self._size = 0
        self.finishing = self.closed = self._unsure = self._concluded = False
        self.stop: Stop | None = None
        self.task: asyncio.Task[None] | None = None
        self.readers: set[asyncio.Event] = set()

    # -- For who executes ----------------------------------------------------------------------------------------------

    def take_up(self, lines: Sequence[bytes]) -> None:
        """Go on behind events that are in the log already."""
        self.lines = list(lines)
        self.shown = self.logged = len(lines)
        self._size = sum(map(len, lines))

    def record(self, *events: Event) -> None:
        """Append events.

        Raises:
            OutputTooLong: the run has said more than a log holds.
        """
        lines = [line_of(event) for event in events]
        self._size += sum(map(len, lines))
        if self._size > settings.EVENT_LOG_MAX_BYTES:
            raise OutputTooLong()
        self.lines += lines
        if lines:
            writer.add(self)

    async def flush(self) -> None:
        """Wait until all is in the log; not where Valkey is down or refuses it."""
        while self.logged < len(self.lines) and await writer.turn(self.run_id):
            pass

    def conclude(self, line: bytes) -> None:
        """Append the last event, which is in the database already and so can be shown at once."""
        self.lines.append(line)
        self._concluded = True
        self.show()
        writer.add(self)

    def close(self) -> None:
        """Nothing more will come from here."""
        self.closed = True
        self._wake()

    # -- For who watches over it ---------------------------------------------------------------------------------------

    def halt(self, why: Stop) -> None:
        """Break the execution off, unless it is being finished already; one that is not claimed yet looks itself."""
        if self.stop is None and not self.finishing:
            self.stop = why
            if self.task and self.attempt:
                self.task.cancel()

    # -- For the writer ------------------------------------------------------------------------------------------------

    @property
    def pending(self) -> log.Append:
        """What is not in the log yet."""
        kept_s = log.kept_s(ended=self._concluded)
        return log.Append(self.run_id, self.logged, self.lines[self.logged :], self.attempt, kept_s)

    def settle(self, asked: log.Append, answer: log.Answer) -> bool:
        """Take note of where the log ends now; whether there is more to append at once.

        Where nothing was appended it may end before what was asked, since a crashed server forgot some, or behind it,
        since an append without an answer had succeeded; anything else is somebody else's writing.
        """
        ours = answer.appended or answer.end <= asked.after or (self._unsure and answer.end <= len(self.lines))
        if answer.end == log.TAKEN_OVER or not ours:
            self.halt(Stop.OVERTAKEN)
            return False
        self.logged, self._unsure = answer.end, False
        if self.logged < asked.end:
            return True
        self.shown = max(self.shown, self.logged)
        self._wake()
        return False

    def keep(self) -> None:
        """Show what could not be appended, or perhaps was."""
        self._unsure = True
        self.show()

    def show(self) -> None:
        """Let readers see all there is."""
        self.shown = len(self.lines)
        self._wake()

    def _wake(self) -> None:
        for reader in self.readers:
            reader.set()
