"""Server-sent events (WHATWG HTML 9.2): opening, heartbeat, a guard for late errors, and a clean end."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import Any, Protocol

from django.conf import settings
from django.http import HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase

from lunaos.api import backpressure, json
from lunaos.api.exceptions import translate
from lunaos.errors import LunaError
from lunaos.infra import metrics
from lunaos.infra.read_access import Access, Guard

HEADERS = {"Cache-Control": "no-cache, no-transform", "X-Accel-Buffering": "no"}
# One line, without a blank line behind it: several clients deliver an empty event at a blank line once they know an id.
HEARTBEAT = b": keep-alive\n"

MAX_PIECE_BYTES = 65_536

PositionedEvent = tuple[int, bytes]


class EventReader(Protocol):
    """Where a stream's events come from."""

    async def read(self, within_s: float) -> list[PositionedEvent] | None:
        """Events as position and JSON object; none where nothing came within the time, None at the end."""

    def close(self) -> None:
        """Nobody will read any more."""


class EventStreamResponse(StreamingHttpResponse):
    """A stream that can still become another response: `open` is awaited before the status line goes out.

    What is read here is executed elsewhere; a client that leaves ends the reading only.

    Args:
        reader: made when the stream opens, on the event loop.
        headers: further response headers.
        is_opening_event: whether an event is reason to open the stream; without it the stream opens at once.
        on_disconnect: called when the client has left before the end.

    Attributes:
        access: what the client may read by; the stream ends when it does. Set it before `open`.
    """

    def __init__(
        self,
        reader: Callable[[], EventReader],
        headers: Mapping[str, str],
        *,
        is_opening_event: Callable[[bytes], bool] | None = None,
        on_disconnect: Callable[[], None] | None = None,
    ) -> None:
        self._make_reader, self._is_opening_event, self._on_disconnect = reader, is_opening_event, on_disconnect
        self._batch: list[PositionedEvent] | None = []
        self.access: Access | None = None
        self._guard: Guard | None = None
        super().__init__(self._body(), content_type="text/event-stream", headers={**HEADERS, **headers})

    async def open(self, within_s: float) -> HttpResponseBase:
        """Wait for what opens the stream.

        Args:
            within_s: after this many seconds the stream opens without it, so that no proxy starves.

        Returns:
            This response; 204 where all has been read before, which tells an EventSource not to come again.

        Raises:
            LunaError: what ended the run, or the client's access, before the stream opened.
        """
        self._reader = self._make_reader()
        if self.access:
            # A stream that waits for an opening event belongs to a new run, which the tier bounds.
            is_limited = self._is_opening_event is None
            self._guard = Guard(self.access, on_refusal=backpressure.get_timeout_shortener(), is_limited=is_limited)
        try:
            if self._guard:
                self._guard.open()
            await self._await_opening(within_s if self._is_opening_event else 0)
        except BaseException as e:
            self._close()
            if isinstance(e, asyncio.CancelledError) and self._on_disconnect:
                self._on_disconnect()
            raise
        if self._batch is None:
            self._close()
            return HttpResponse(status=204, headers=self.headers)
        return self

    def abandon(self) -> None:
        """The client has left before this response was there to be opened."""
        if self._on_disconnect:
            self._on_disconnect()

    async def _await_opening(self, within_s: float) -> None:
        deadline, entries = time.monotonic() + within_s, list[PositionedEvent]()
        while (batch := await self._read(max(0, deadline - time.monotonic()))) is not None:
            entries += batch
            if opening := next(
                (line for _, line in entries if self._is_opening_event and self._is_opening_event(line)), None
            ):
                _raise_if_error(opening)
            if opening or time.monotonic() >= deadline:
                break
        self._batch = entries if entries or batch is not None else None

    async def _read(self, within_s: float) -> list[PositionedEvent] | None:
        """Read on, unless the client has left: on Python 3.11, `asyncio.wait_for` in a library may swallow that."""
        reading = self._guard.read(self._reader, within_s) if self._guard else self._reader.read(within_s)
        batch = await reading
        if (task := asyncio.current_task()) and task.cancelling():
            raise asyncio.CancelledError
        return batch

    def _close(self) -> None:
        if self._guard:
            self._guard.close()
        self._reader.close()

    async def _body(self) -> AsyncIterator[bytes]:
        ended = False
        streams = metrics.STREAMS.labels("sse")
        streams.inc()
        try:
            while self._batch is not None:
                # the server sends the headers with the first bytes only, so silence begins with a comment
                for piece in _pieces(self._batch):
                    yield piece
                self._batch = await self._read(settings.STREAM_HEARTBEAT_S)
            ended = True
        except Exception as e:
            ended = True
            yield b"data: %b\n\n" % _failure(translate(e))  # without an id: only this reading fails, the run may go on
        finally:
            streams.dec()
            self._close()
            if not ended and self._on_disconnect and not backpressure.client_was_dropped():
                self._on_disconnect()


def _pieces(batch: list[PositionedEvent]) -> Iterator[bytes]:
    """A batch in pieces as they fit into a connection's buffer, since its client may read no further."""
    piece = bytearray()
    for entry in batch:
        piece += b"id: %d\ndata: %b\n\n" % entry
        if len(piece) >= MAX_PIECE_BYTES:
            yield bytes(piece)
            piece.clear()
    if piece or not batch:
        yield bytes(piece) or HEARTBEAT


def _failure(error: LunaError) -> bytes:
    retry = {} if error.retry_after is None else {"retryAfter": error.retry_after}
    return json.dumps({"type": "error", "error": str(error), "code": error.code, **retry})


def _raise_if_error(line: bytes) -> None:
    if line.startswith(b'{"type":"error"'):
        event: dict[str, Any] = json.loads(line)
        raise LunaError.with_code(event["code"], event["error"], retry_after=event.get("retryAfter"))
