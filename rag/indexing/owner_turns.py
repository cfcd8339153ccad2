"""Which owner's index jobs a worker does next: owners take turns, however much one of them has sent.

A turn is a stretch of time. Between two requests to the model a worker looks whether its turn is over and another owner
waits; if so, it does that owner's jobs for one turn, on top of its own job, and then goes on where it was. So a file
whose chunks are at the model for half a minute delays nobody, and is not begun anew.
"""

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from uuid import UUID

from django.db import connection

TURN_S = 2.0
MAX_NESTED_OWNERS = 5  # owners whose jobs one worker thread has begun: each keeps a batch of files in memory
MAX_REMEMBERED_OWNERS = 10_000  # whose last turn a process remembers
# Each owner's oldest job; where another worker holds its repository, the owner has a turn there. A folder's job is done
# by the command that reads the folder.
WAITING_OWNERS = """
    SELECT DISTINCT ON (repository.user_id) repository.user_id, repository.id
    FROM rag_indexjob job JOIN rag_repository repository ON repository.id = job.repository_id
    WHERE job.status IN ('queued', 'running') AND job.kind <> 'folder' AND repository.user_id <> ALL(%s)
    ORDER BY repository.user_id, job.created_at
"""
_next_turn_at: dict[UUID, float] = {}  # when an owner's next turn in this process is due, by the monotonic clock


class TurnOver(Exception):
    """A turn has had its time; what was written stays, and the job goes on in the owner's next turn."""


@dataclass(slots=True)
class Turn:
    """A stretch of work for one owner.

    Args:
        owners: whose jobs this thread has begun, the one whose turn it is last.
    """

    owners: tuple[UUID, ...]
    _started_at: float = field(default_factory=lambda: time.monotonic())
    _checked_at: float = field(default_factory=lambda: time.monotonic())

    def is_over(self) -> bool:
        return time.monotonic() - self._started_at >= TURN_S

    def raise_if_over(self) -> None:
        """End a turn that is over; called when something has been written, so that each turn gets on.

        Raises:
            TurnOver: it is.
        """
        if self.is_over():
            raise TurnOver

    def yield_to_others(self, run_turn: Callable[[int, "Turn"], None]) -> None:
        """Give a turn to each other owner who waits and is due, at most every TURN_S.

        Args:
            run_turn: does a turn's work in a repository, unless another process is at it.
        """
        started_at = time.monotonic()
        if started_at - self._checked_at < TURN_S or len(self.owners) >= MAX_NESTED_OWNERS:
            return
        for owner, repository_id in waiting_owners(excluding=self.owners):
            if _next_turn_at.get(owner, 0.0) <= time.monotonic():  # it may have had one on top of another owner's
                turn = Turn((*self.owners, owner))
                run_turn(repository_id, turn)
                turn._schedule_next()
        self._checked_at = time.monotonic()
        self._started_at += self._checked_at - started_at  # what others took is none of this turn

    def _schedule_next(self) -> None:
        """Others get as long as this turn was before its owner is due again."""
        if len(_next_turn_at) >= MAX_REMEMBERED_OWNERS:
            _next_turn_at.clear()
        now = time.monotonic()
        _next_turn_at[self.owners[-1]] = now + now - self._started_at


def waiting_owners(*, excluding: Collection[UUID]) -> list[tuple[UUID, int]]:
    """Return owners with jobs that have not ended, each with a repository; first the one due the longest."""
    with connection.cursor() as cursor:
        rows: list[tuple[UUID, int]] = cursor.execute(WAITING_OWNERS, [list(excluding)]).fetchall()
    return sorted(rows, key=lambda row: _next_turn_at.get(row[0], 0.0))
