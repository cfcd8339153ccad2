"""Record a run's events, in memory for its readers here, and in the event log."""

import asyncio
import enum
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from django.conf import settings

from lunaos.event_lines import encode
from runs.errors import OutputTooLong
from runs.eventlog import log, writer

RunEvent = dict[str, Any]


class StopReason(enum.Enum):
    CANCELLED = "the owner or staff cancelled the run"
    LEASE_LOST = "another process ended the run or took it over"
    SHUTTING_DOWN = "this process is about to stop"


class LeaseLost(Exception):
    """Another execution has taken the run over: stop, and write nothing more."""


class Recorder:
    """The only writer of a run's events; used on the event loop only.

    Readers see an event once it is in the log, or while Valkey is down.
    """

    def __init__(self, run_id: UUID, attempt: int = 1) -> None:
        # Raised by each takeover; 0 until the run is claimed.
        self.run_id, self.attempt = run_id, attempt
        self.lines: list[bytes] = []
        # Counts of events: in the log, and visible to readers. An event that only memory has might be seen by one
        # reader and lost for the next.
        self.shown = self.logged = self._size = 0
        self.finishing = self.closed = self._append_unconfirmed = self._has_terminal = False
        self.stop_reason: StopReason | None = None
        self.task: asyncio.Task[None] | None = None
        self.readers: set[asyncio.Event] = set()

    # -- For the executor ----------------------------------------------------------------------------------------------

    def load_log(self, lines: Sequence[bytes]) -> None:
        """Continue after events that are in the log already."""
        self.lines = list(lines)
        self.shown = self.logged = len(lines)
        self._size = sum(map(len, lines))

    def record(self, *events: RunEvent) -> None:
        """Append events; raise OutputTooLong above EVENT_LOG_MAX_BYTES."""
        lines = [encode(event) for event in events]
        self._size += sum(map(len, lines))
        if self._size > settings.EVENT_LOG_MAX_BYTES:
            raise OutputTooLong()
        self.lines += lines
        if lines:
            writer.add(self)

    async def flush(self) -> None:
        """Wait until all events are in the log; return at once if Valkey takes none."""
        while self.logged < len(self.lines) and await writer.wait_for_round_trip(self.run_id):
            pass

    def append_terminal(self, line: bytes) -> None:
        """Append and show the last event, which is in the database already."""
        self.lines.append(line)
        self._has_terminal = True
        self.show()
        writer.add(self)

    def close(self) -> None:
        """Wake the readers for the last time: no event follows from this execution."""
        self.closed = True
        self._wake_readers()

    # -- For the watcher of this process's runs ------------------------------------------------------------------------

    def request_stop(self, reason: StopReason) -> None:
        """Cancel the execution, unless it is finishing already."""
        if self.stop_reason is None and not self.finishing:
            self.stop_reason = reason
            # An execution that has not claimed its run yet is not cancelled; it reads `stop_reason` after the claim.
            if self.task and self.attempt:
                self.task.cancel()

    # -- For the writer ------------------------------------------------------------------------------------------------

    @property
    def pending(self) -> log.AppendRequest:
        """Return the request that appends all events that are not in the log yet."""
        ttl_s = log.choose_ttl_s(ended=self._has_terminal)
        return log.AppendRequest(self.run_id, self.logged, self.lines[self.logged :], self.attempt, ttl_s)

    def acknowledge(self, request: log.AppendRequest, result: log.AppendResult) -> bool:
        """Apply the result of an append; return whether to append more at once."""
        # If nothing was appended, the log may end before the requested position, because a crashed server has lost
        # events, or after it, because an append without a response had succeeded. Any other end was written by another
        # execution.
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
        """Show events that were not appended, or whose append has no response."""
        self._append_unconfirmed = True
        self.show()

    def show(self) -> None:
        self.shown = len(self.lines)
        self._wake_readers()

    def _wake_readers(self) -> None:
        for reader in self.readers:
            reader.set()
