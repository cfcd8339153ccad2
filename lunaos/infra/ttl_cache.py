"""What every request needs and staff change now and then, read from the database at most every few seconds."""

import time
from collections.abc import Callable
from typing import Generic, TypeVar

Content = TypeVar("Content")

FRESH_S = 3.0


class Snapshot(Generic[Content]):
    """This process's view of some rows; a change counts within FRESH_S everywhere.

    Args:
        read: gets the rows.
    """

    def __init__(self, read: Callable[[], Content]) -> None:
        self._read = read
        self._kept: tuple[Content, float] | None = None

    def __call__(self) -> Content:
        """The rows, at most FRESH_S old."""
        kept = self._kept
        if kept is None or time.monotonic() - kept[1] > FRESH_S:
            self._kept = kept = (self._read(), time.monotonic())
        return kept[0]

    def forget(self) -> None:
        """Read anew on the next use."""
        self._kept = None
