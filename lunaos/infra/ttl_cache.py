import time
from collections.abc import Callable
from typing import Generic, TypeVar

Content = TypeVar("Content")

TTL_S = 3.0


class TtlCache(Generic[Content]):
    """Rows that staff seldom change, read with `read` at most TTL_S seconds ago."""

    def __init__(self, read: Callable[[], Content]) -> None:
        self._read = read
        self._kept: tuple[Content, float] | None = None

    def __call__(self) -> Content:
        kept = self._kept
        if kept is None or time.monotonic() - kept[1] > TTL_S:
            self._kept = kept = (self._read(), time.monotonic())
        return kept[0]

    def forget(self) -> None:
        """Read the rows again at the next use."""
        self._kept = None
