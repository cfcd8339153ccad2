"""The events of runs that have ended, read out of PostgreSQL piece by piece.

A reader holds one piece, however long the run was and however little the client takes. PostgreSQL decompresses the
whole text for each piece, so a piece is as large as most runs, which are read in one statement.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from django.db import connection

from runs.models import UNFINISHED, Run

PIECE_BYTES = 262_144
READ = """
    SELECT substr(convert_to(events, 'UTF8'), %s, %s), octet_length(events) FROM runs_text
    WHERE run_id = %s AND expires_at = %s AND expires_at > now()
"""

NumberedEvent = tuple[int, bytes]


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a run's stored events.

    Args:
        status: of the run at this moment; empty where the run is gone.
        content: in UTF-8, cut at any byte; None where no events are kept.
        total: bytes of all stored events.
    """

    status: str
    content: bytes | None
    total: int


class Replay:
    """Goes through a run's stored events in order.

    Attributes:
        position: of the last event that was returned.
        ended: whether that event was the last one of all.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self._offset = 0
        self._rest = b""
        self.position = 0
        self.ended = False

    def fetch(self) -> Piece:
        """Read the next piece and change nothing: the caller may have given this thread up."""
        now = Run.objects.filter(pk=self._run.pk).only("status", "expires_at").first()  # the end may change both
        if now is None:
            return Piece("", None, 0)
        return Piece(now.status, b"", 0) if now.status in UNFINISHED else self.fetch_stored(now)

    def fetch_stored(self, run: Run | None = None) -> Piece:
        """Read the next piece of what is stored, also of a run that has not ended.

        Args:
            run: with its present status and retention; as when this was made by default.
        """
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
    """Yield a run's stored events, one piece of them in memory at a time; none where they are not kept."""
    replay = Replay(run)
    while not replay.ended:
        piece = replay.fetch_stored()
        if piece.content is None:
            return
        yield from (line for _, line in replay.split(piece))
