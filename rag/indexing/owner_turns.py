"""Turns of owners at a worker, so that one owner's backlog does not delay the others."""

# A turn is a period of time. Between two requests to the model, a worker checks whether its turn is over and another
# owner waits. If so, the worker runs that owner's jobs for one turn inside its own job, and then continues its own
# job. So a file whose chunks take the model half a minute delays no other owner, and is not started again (ADR 30).

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from uuid import UUID

from django.db import connection

TURN_S = 2.0
MAX_NESTED_OWNERS = 5  # unfinished turns in one worker thread: each keeps a batch of files in memory
MAX_REMEMBERED_OWNERS = 10_000  # entries of _next_turn_at
# Each owner's oldest job. If another worker holds its repository, the owner has a turn there. Folder jobs are excluded:
# the command that reads the folder runs them.
WAITING_OWNERS = """
    SELECT DISTINCT ON (repository.user_id) repository.user_id, repository.id
    FROM rag_indexjob job JOIN rag_repository repository ON repository.id = job.repository_id
    WHERE job.status IN ('queued', 'running') AND job.kind <> 'folder' AND repository.user_id <> ALL(%s)
    ORDER BY repository.user_id, job.created_at
"""
_next_turn_at: dict[UUID, float] = {}  # by owner, on the monotonic clock of this process


class TurnOver(Exception):
    """The turn's time is over; the job continues in the owner's next turn."""


@dataclass(slots=True)
class Turn:
    """A period of work for one owner."""

    # `owners`: owners of this thread's unfinished turns; the current turn's owner is last.

    owners: tuple[UUID, ...]
    _started_at: float = field(default_factory=lambda: time.monotonic())
    _checked_at: float = field(default_factory=lambda: time.monotonic())

    def is_over(self) -> bool:
        """Return whether the turn has lasted TURN_S."""
        return time.monotonic() - self._started_at >= TURN_S

    def raise_if_over(self) -> None:
        """End a turn that is over; called after a write, so that each turn makes progress.

        Raises:
            TurnOver: the turn is over.
        """
        if self.is_over():
            raise TurnOver

    def yield_to_others(self, run_turn: Callable[[int, "Turn"], None]) -> None:
        """Give a turn to each other waiting owner whose turn is due, at most every TURN_S."""
        started_at = time.monotonic()
        if started_at - self._checked_at < TURN_S or len(self.owners) >= MAX_NESTED_OWNERS:
            return
        for owner, repository_id in waiting_owners(excluding=self.owners):
            if (
                _next_turn_at.get(owner, 0.0) <= time.monotonic()
            ):  # the owner may have had a turn inside another owner's
                turn = Turn((*self.owners, owner))
                run_turn(repository_id, turn)
                turn._schedule_next()
        self._checked_at = time.monotonic()
        self._started_at += self._checked_at - started_at  # the others' time does not count

    def _schedule_next(self) -> None:
        # Let the owner wait as long as this turn lasted, so that others get as much time.
        if len(_next_turn_at) >= MAX_REMEMBERED_OWNERS:
            _next_turn_at.clear()
        now = time.monotonic()
        _next_turn_at[self.owners[-1]] = now + now - self._started_at


def waiting_owners(*, excluding: Collection[UUID]) -> list[tuple[UUID, int]]:
    """Return owners with unfinished jobs, each with a repository; longest due first."""
    with connection.cursor() as cursor:
        rows: list[tuple[UUID, int]] = cursor.execute(WAITING_OWNERS, [list(excluding)]).fetchall()
    return sorted(rows, key=lambda row: _next_turn_at.get(row[0], 0.0))
