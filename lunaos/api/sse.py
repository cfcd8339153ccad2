"""Server-sent events (WHATWG HTML 9.2): opening, heartbeat, a guard for late errors, and a clean end."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

from django.conf import settings
from django.db import connections
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
    """Answer with a stream; to be called from a synchronous view.

    The view's database connection goes back to the pool first: Django would hold it as long as the stream lasts.

    Args:
        batches: the run's events; what arrived together comes, and goes out, together.
        headers: further response headers.
    """
    connections.close_all()
    return EventStreamResponse(batches, headers)


class EventStreamResponse(StreamingHttpResponse):
    """A stream that can still become an error: `open` is awaited before the status line goes out."""

    def __init__(self, batches: Batches, headers: Mapping[str, str]) -> None:
        self._batches = batches
        self._next: asyncio.Future[list[Event]] | None = None
        super().__init__(self._body(), content_type="text/event-stream", headers={**HEADERS, **headers})

    async def open(self, within_s: float) -> None:
        """Wait for the first events.

        Args:
            within_s: after this many seconds the stream opens without them, so that no proxy starves.

        Raises:
            Exception: whatever ended the run before it said anything.
        """
        self._next = self._advance()
        try:
            done, _ = await asyncio.wait({self._next}, timeout=within_s)
        except asyncio.CancelledError:
            await self._stop()
            raise
        if done and (error := self._next.exception()):
            raise error

    def _advance(self) -> asyncio.Future[list[Event]]:
        return asyncio.ensure_future(anext(self._batches))

    async def _body(self) -> AsyncIterator[bytes]:
        waiting = self._next or self._advance()
        self._next, position = waiting, 0
        if not waiting.done():
            yield HEARTBEAT  # the server sends the headers with the first bytes only
        try:
            while True:
                done, _ = await asyncio.wait({waiting}, timeout=settings.STREAM_HEARTBEAT_S)
                if not done:
                    yield HEARTBEAT
                    continue
                try:
                    batch = waiting.result()
                except StopAsyncIteration:
                    return
                yield b"".join(encode(position + n, event) for n, event in enumerate(batch, 1))
                position += len(batch)
                waiting = self._next = self._advance()
        except Exception as e:
            error = translate(e)
            yield encode(position + 1, {"type": "error", "error": str(error), "code": error.code})
        finally:
            await self._stop()

    async def _stop(self) -> None:
        """End the run's generator wherever it stands, and wait until it has put its affairs in order."""
        if self._next is not None:
            self._next.cancel()
            await asyncio.gather(self._next, return_exceptions=True)
        await self._batches.aclose()  # type: ignore[attr-defined]
