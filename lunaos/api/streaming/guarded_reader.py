"""Reading for a client, which ends with the client's access."""

import asyncio
from typing import Generic, TypeVar

from lunaos.api.streaming import backpressure
from lunaos.infra.read_access import Access, Guard, Reader

Read = TypeVar("Read")


class GuardedReader(Generic[Read]):
    """A reader whose `read` raises the access's LunaError as soon as the access has ended."""

    # `access`: the client's credential; None for a public source.

    def __init__(self, reader: Reader[Read], access: Access | None, *, is_limited: bool = False) -> None:
        self._reader = reader
        shortener = backpressure.get_timeout_shortener() if access else None
        self._guard = Guard(access, on_refusal=shortener, is_limited=is_limited) if access and shortener else None

    def open(self) -> None:
        """Start watching the access; raise `TooManyReaders` beyond the user's limit."""
        if self._guard:
            self._guard.open()

    async def read(self, within_s: float) -> Read:
        """Read on, unless the task is cancelled: on Python 3.11 `asyncio.wait_for` may swallow a cancellation."""
        found = await (self._guard.read(self._reader, within_s) if self._guard else self._reader.read(within_s))
        if (task := asyncio.current_task()) and task.cancelling():
            raise asyncio.CancelledError
        return found

    def close(self) -> None:
        """Stop watching; the source stays open."""
        if self._guard:
            self._guard.close()
