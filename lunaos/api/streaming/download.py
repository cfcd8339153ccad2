"""A JSON document of any size as a response, produced piece by piece while it is sent."""

import logging
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from typing import Any

from django.http import StreamingHttpResponse

from lunaos.api import json
from lunaos.api.streaming.guarded_reader import GuardedReader
from lunaos.infra import database
from lunaos.infra.postgresql import limits
from lunaos.infra.read_access import Access

MAX_PIECE_BYTES = 65_536
logger = logging.getLogger(__name__)

Section = tuple[str, dict[str, Any] | Iterable[dict[str, Any]]]


class Download(StreamingHttpResponse):
    """Respond with `{"data": {<name>: <object or array>, …}}`, produced only as fast as the client reads."""

    # `access`: the client's credential; the document breaks off when the credential ends.

    def __init__(
        self,
        sections: Iterator[Section],
        filename: str,
        *,
        access: Access | None = None,
        on_piece: Callable[[], None] = lambda: None,
        on_close: Callable[[], None] = lambda: None,
    ) -> None:
        self._on_close = on_close
        headers = {"Content-Disposition": f'attachment; filename="{filename}"'}
        super().__init__(_body(sections, access, on_piece, on_close), content_type="application/json", headers=headers)

    def close(self) -> None:
        super().close()
        self._on_close()


class _PieceReader:
    def __init__(self, pieces: Iterator[bytes], on_piece: Callable[[], None]) -> None:
        self._pieces, self._on_piece = pieces, on_piece

    async def read(self, within_s: float) -> bytes:
        """Return the next piece, without a time limit; empty at the end."""
        return await database.call(self._next)

    def _next(self) -> bytes:
        # The statements behind a piece may be long.
        with limits.within(limits.long()):
            piece = next(self._pieces, b"")
        self._on_piece()
        return piece


async def _body(
    sections: Iterator[Section],
    access: Access | None = None,
    on_piece: Callable[[], None] = lambda: None,
    on_end: Callable[[], None] = lambda: None,
) -> AsyncIterator[bytes]:
    reader = GuardedReader(_PieceReader(_pieces(sections), on_piece), access)
    reader.open()
    try:
        while piece := await reader.read(0):
            yield piece
        await database.call(on_end)  # a client that asks again right after the end must not be refused
    except Exception:  # the status was sent already; the client notices that the document is not JSON
        logger.exception("A download broke off")
    finally:
        reader.close()


def _pieces(sections: Iterator[Section]) -> Iterator[bytes]:
    piece = bytearray()
    for token in _tokens(sections):
        piece += token
        if len(piece) >= MAX_PIECE_BYTES:
            yield bytes(piece)
            piece.clear()
    yield bytes(piece)


def _tokens(sections: Iterator[Section]) -> Iterator[bytes]:
    yield b'{"data":{'
    for number, (name, content) in enumerate(sections):
        yield b"%b%b:" % (b"," if number else b"", json.dumps(name))
        yield from _object(content) if isinstance(content, dict) else _array(content)
    yield b"}}"


def _array(items: Iterable[Any]) -> Iterator[bytes]:
    yield b"["
    for number, item in enumerate(items):
        if number:
            yield b","
        yield from _object(item) if isinstance(item, dict) else [json.dumps(item)]
    yield b"]"


def _object(row: dict[str, Any]) -> Iterator[bytes]:
    # Encode a row, and its members one after the other where a member is long.
    if not any(_is_long(value) for value in row.values()):
        yield json.dumps(row)
        return
    yield b"{"
    for number, (name, value) in enumerate(row.items()):
        yield b"%b%b:" % (b"," if number else b"", json.dumps(name))
        yield from _member(value)
    yield b"}"


def _is_long(value: Any) -> bool:
    return isinstance(value, Iterator) or (isinstance(value, str) and len(value) > MAX_PIECE_BYTES)


def _member(value: Any) -> Iterator[bytes]:
    if isinstance(value, Iterator):
        yield from _array(value)
    elif _is_long(value):
        yield b'"'
        for start in range(0, len(value), MAX_PIECE_BYTES):
            yield json.dumps(value[start : start + MAX_PIECE_BYTES])[1:-1]
        yield b'"'
    else:
        yield json.dumps(value)
