"""Server-sent events (WHATWG HTML 9.2): opening, heartbeats, late errors, and a clean end."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import Any, Protocol

from django.conf import settings
from django.http import HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase

from lunaos.api import json
from lunaos.api.exceptions import translate
from lunaos.api.streaming import backpressure
from lunaos.api.streaming.deferred import DeferredResponse
from lunaos.api.streaming.guarded_reader import GuardedReader
from lunaos.errors import LunaError
from lunaos.event_lines import encode, type_of
from lunaos.infra.observability import metrics

HEADERS = {"Cache-Control": "no-cache, no-transform", "X-Accel-Buffering": "no"}
# One line, without a blank line behind it: several clients deliver an empty event at a blank line once they know an id.
HEARTBEAT = b": keep-alive\n"

MAX_PIECE_BYTES = 65_536

PositionedEvent = tuple[int, bytes]


class EventReader(Protocol):
    """The source of a stream's events."""

    async def read(self, within_s: float) -> list[PositionedEvent] | None:
        """Return events as position and JSON object."""
        # An empty list after `within_s` seconds, None at the end.

    def close(self) -> None:
        """Release the source; it is not read again."""


class EventStreamResponse(DeferredResponse, StreamingHttpResponse):
    """A stream that may still become another response: `open` is awaited before the status line is sent."""

    # The run is executed elsewhere; a client that disconnects ends the reading only. `is_opening_event`: returns
    # whether an event opens the stream; None to open the stream at once. Attributes:     access: the client's
    # credential; the stream ends with it. Set it before `open`.

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
        super().__init__(self._body(), content_type="text/event-stream", headers={**HEADERS, **headers})

    async def open(self, within_s: float) -> HttpResponseBase:
        """Wait for the event that opens the stream.

        Raises:
            LunaError: the run has failed, or the access has ended, before the stream opened.
        """
        self._source = self._make_reader()
        # A stream that waits for an opening event belongs to a new run, which the tier bounds.
        self._reader = GuardedReader(self._source, self.access, is_limited=self._is_opening_event is None)
        try:
            self._reader.open()
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
        """Report that the client has disconnected before this response was opened."""
        if self._on_disconnect:
            self._on_disconnect()

    async def _await_opening(self, within_s: float) -> None:
        deadline, entries = time.monotonic() + within_s, list[PositionedEvent]()
        while (batch := await self._reader.read(max(0, deadline - time.monotonic()))) is not None:
            entries += batch
            if opening := next(
                (line for _, line in entries if self._is_opening_event and self._is_opening_event(line)), None
            ):
                _raise_if_error(opening)
            if opening or time.monotonic() >= deadline:
                break
        self._batch = entries if entries or batch is not None else None

    def _close(self) -> None:
        self._reader.close()
        self._source.close()

    async def _body(self) -> AsyncIterator[bytes]:
        ended = False
        streams = metrics.STREAMS.labels("sse")
        streams.inc()
        try:
            while self._batch is not None:
                # The server sends the headers with the first bytes only, so silence begins with a comment.
                for piece in _pieces(self._batch):
                    yield piece
                self._batch = await self._reader.read(settings.STREAM_HEARTBEAT_S)
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
    # Encode a batch in pieces of about MAX_PIECE_BYTES, since a slow client may not read all.
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
    return encode({"type": "error", "error": str(error), "code": error.code, **retry})


def _raise_if_error(line: bytes) -> None:
    if type_of(line) == "error":
        event: dict[str, Any] = json.loads(line)
        raise LunaError.with_code(event["code"], event["error"], retry_after=event.get("retryAfter"))
