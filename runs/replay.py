"""The events of runs that have ended, read out of PostgreSQL piece by piece."""

from collections.abc import Iterator
from dataclasses import dataclass

from django.db import connection

from runs.models import UNFINISHED, Run

# Bounds a reader's memory, however little its client takes. PostgreSQL decompresses the whole text for each piece, so a
# piece holds all of most runs.
PIECE_BYTES = 262_144
READ = """
    SELECT substr(convert_to(events, 'UTF8'), %s, %s), octet_length(events) FROM runs_text
    WHERE run_id = %s AND expires_at = %s AND expires_at > now()
"""

NumberedEvent = tuple[int, bytes]


@dataclass(frozen=True, slots=True)
class Piece:
    # Empty if the run is gone.
    status: str
    # UTF-8, cut at any byte; None if no events are kept.
    content: bytes | None
    # Bytes of all stored events.
    total: int


class Replay:
    """Goes through a run's stored events in order."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._offset = 0
        self._rest = b""
        # The position of the last event that `split` returned, and whether it was the run's last.
        self.position = 0
        self.ended = False

    def fetch(self) -> Piece:
        """Read the next piece, and change nothing: the caller may have timed out."""
        # The run's end may change both columns.
        now = Run.objects.filter(pk=self._run.pk).only("status", "expires_at").first()
        if now is None:
            return Piece("", None, 0)
        return Piece(now.status, b"", 0) if now.status in UNFINISHED else self.fetch_stored(now)

    def fetch_stored(self, run: Run | None = None) -> Piece:
        """Read the next piece of the stored events, also of a run that has not ended."""
        run = run or self._run
        with connection.cursor() as cursor:
            cursor.execute(READ, [self._offset + 1, PIECE_BYTES, run.pk, run.expires_at])
            content, total = cursor.fetchone() or (b"", 0)
        return Piece(run.status, bytes(content) if total else None, total)

    def split(self, piece: Piece) -> list[NumberedEvent]:
        """Return the events that a piece completes, with their positions."""
        content = piece.content or b""
        self._offset += len(content)
        lines = (self._rest + content).split(b"\n")
        self.ended = self._offset >= piece.total
        self._rest = b"" if self.ended else lines.pop()
        entries = list(enumerate(lines, self.position + 1))
        self.position += len(lines)
        return entries


def read_lines(run: Run) -> Iterator[bytes]:
    """Yield a run's stored events, one piece of them in memory at a time."""
    replay = Replay(run)
    while not replay.ended:
        piece = replay.fetch_stored()
        if piece.content is None:
            return
        yield from (line for _, line in replay.split(piece))
