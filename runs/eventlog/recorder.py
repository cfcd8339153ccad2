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

RunEvent = dict[str, Any]

CHUNK = b'{"type":"chunk"'


class StopReason(enum.Enum):
    """Why an execution is to end before its time."""

    CANCELLED = "its owner asked for it"
    LEASE_LOST = "another execution ended it or took it over"
    SHUTTING_DOWN = "this process is about to stop"


class LeaseLost(Exception):
    """Somebody else executes this run now: stop, and write nothing more."""


def encode(event: RunEvent) -> bytes:
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
        self.finishing = self.closed = self._append_unconfirmed = self._has_terminal = False
        self.stop_reason: StopReason | None = None
        self.task: asyncio.Task[None] | None = None
        self.readers: set[asyncio.Event] = set()

    # -- For who executes ----------------------------------------------------------------------------------------------

    def load_log(self, lines: Sequence[bytes]) -> None:
        """Go on behind events that are in the log already."""
        self.lines = list(lines)
        self.shown = self.logged = len(lines)
        self._size = sum(map(len, lines))

    def record(self, *events: RunEvent) -> None:
        """Append events.

        Raises:
            OutputTooLong: the run has said more than a log holds.
        """
        lines = [encode(event) for event in events]
        self._size += sum(map(len, lines))
        if self._size > settings.EVENT_LOG_MAX_BYTES:
            raise OutputTooLong()
        self.lines += lines
        if lines:
            writer.add(self)

    async def flush(self) -> None:
        """Wait until all is in the log; not where Valkey is down or refuses it."""
        while self.logged < len(self.lines) and await writer.wait_for_round_trip(self.run_id):
            pass

    def append_terminal(self, line: bytes) -> None:
        """Append the last event, which is in the database already and so can be shown at once."""
        self.lines.append(line)
        self._has_terminal = True
        self.show()
        writer.add(self)

    def close(self) -> None:
        """Nothing more will come from here."""
        self.closed = True
        self._wake_readers()

    # -- For who watches over it ---------------------------------------------------------------------------------------

    def request_stop(self, reason: StopReason) -> None:
        """Break the execution off, unless it is being finished already; one that is not claimed yet looks itself."""
        if self.stop_reason is None and not self.finishing:
            self.stop_reason = reason
            if self.task and self.attempt:
                self.task.cancel()

    # -- For the writer ------------------------------------------------------------------------------------------------

    @property
    def pending(self) -> log.AppendRequest:
        """What is not in the log yet."""
        ttl_s = log.choose_ttl_s(ended=self._has_terminal)
        return log.AppendRequest(self.run_id, self.logged, self.lines[self.logged :], self.attempt, ttl_s)

    def acknowledge(self, request: log.AppendRequest, result: log.AppendResult) -> bool:
        """Take note of where the log ends now; whether there is more to append at once.

        Where nothing was appended it may end before what was asked, since a crashed server forgot some, or behind it,
        since an append without an answer had succeeded; anything else is somebody else's writing.
        """
        end = result.last_position
        ours = result.appended or end <= request.after or (self._append_unconfirmed and end <= len(self.lines))
        if end == log.FENCED or not ours:
            self.request_stop(StopReason.LEASE_LOST)
            return False
        self.logged, self._append_unconfirmed = end, False
        if self.logged < request.last_position:
            return True
        self.shown = max(self.shown, self.logged)
        self._wake_readers()
        return False

    def on_append_failed(self) -> None:
        """Show what could not be appended, or perhaps was."""
        self._append_unconfirmed = True
        self.show()

    def show(self) -> None:
        """Let readers see all there is."""
        self.shown = len(self.lines)
        self._wake_readers()

    def _wake_readers(self) -> None:
        for reader in self.readers:
            reader.set()
