"""Server-sent events (WHATWG HTML 9.2): opening, heartbeat, a guard for late errors, and a clean end."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

from django.conf import settings
from django.http import StreamingHttpResponse

from lunaos.api import json
from lunaos.api.exceptions import translate

Event = dict[str, Any]
Batches = AsyncIterator[list[Event]]

HEADERS = {"Cache-Control": "no-cache, no-transform", "X-Accel-Buffering": "no"}
HEARTBEAT = b": keep-alive\n\n"


def encode(position: int, event: Event) -> bytes:
    """One event: its position in the run as `id`, the object in one `data` line."""
    return b"id: %d\ndata: %b\n\n" % (position, json.dumps(event))


def event_response(batches: Batches, headers: Mapping[str, str]) -> "EventStreamResponse":
    """Answer with a stream.

    Args:
        batches: the run's events; what arrived together comes, and goes out, together.
        headers: further response headers.
    """
    return EventStreamResponse(batches, headers)


class EventStreamResponse(StreamingHttpResponse):
    """A stream that can still become an error: `open` is awaited before the status line goes out.

    A task of its own drives the run, and the response sends whatever has come: who reads is not who executes.
    """

    def __init__(self, batches: Batches, headers: Mapping[str, str]) -> None:
        self._batches = batches
        self._events: list[Event] = []
        self._error: Exception | None = None
        self._ended = False
        self._news = asyncio.Event()
        super().__init__(self._body(), content_type="text/event-stream", headers={**HEADERS, **headers})

    async def open(self, within_s: float) -> None:
        """Start the run and wait for its first events.

        Args:
            within_s: after this many seconds the stream opens without them, so that no proxy starves.

        Raises:
            Exception: whatever ended the run before it said anything.
        """
        self._task = asyncio.create_task(self._drive())
        try:
            await self._wait(within_s)
        except asyncio.CancelledError:
            await self._stop()
            raise
        if self._error and not self._events:
            raise self._error

    async def _drive(self) -> None:
        try:
            async for batch in self._batches:
                self._events += batch
                self._news.set()
        except Exception as e:
            self._error = e
        finally:
            self._ended = True
            self._news.set()

    async def _wait(self, seconds: float) -> bool:
        """Whether there is news within the time."""
        try:
            async with asyncio.timeout(seconds):
                await self._news.wait()
        except TimeoutError:
            return False
        return True

    async def _body(self) -> AsyncIterator[bytes]:
        position = 0
        try:
            if not self._news.is_set():
                yield HEARTBEAT  # the server sends the headers with the first bytes only
            while not (self._ended and not self._events):
                if not await self._wait(settings.STREAM_HEARTBEAT_S):
                    yield HEARTBEAT
                    continue
                self._news.clear()
                events, self._events = self._events, []
                if events:
                    yield b"".join(encode(position + n, event) for n, event in enumerate(events, 1))
                    position += len(events)
            if self._error:
                error = translate(self._error)
                yield encode(position + 1, {"type": "error", "error": str(error), "code": error.code})
        finally:
            await self._stop()

    async def _stop(self) -> None:
        """End the run wherever it stands, and wait until it has put its affairs in order."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
