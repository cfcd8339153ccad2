"""A JSON document of any size as a response: made piece by piece, while it is sent."""

import logging
from collections.abc import AsyncIterator, Iterable, Iterator
from typing import Any

from django.http import StreamingHttpResponse

from lunaos import database
from lunaos.api import json
from lunaos.postgresql import limits

PIECE_BYTES = 65_536
logger = logging.getLogger(__name__)

Section = tuple[str, dict[str, Any] | Iterable[dict[str, Any]]]


def response(sections: Iterator[Section], filename: str) -> StreamingHttpResponse:
    """Answer with `{"data": {<name>: <object or array>, …}}`.

    Args:
        sections: read in threads, a different one each time, as far as the client reads.
    """
    headers = {"Content-Disposition": f'attachment; filename="{filename}"'}
    return StreamingHttpResponse(_body(sections), content_type="application/json", headers=headers)


async def _body(sections: Iterator[Section]) -> AsyncIterator[bytes]:
    pieces = _pieces(sections)
    try:
        while piece := await database.call(_next, pieces):
            yield piece
    except Exception:  # the status has gone out; a document that breaks off is no JSON, which a client notices
        logger.exception("A download broke off")


def _next(pieces: Iterator[bytes]) -> bytes:
    """Return the next piece, empty behind the last one; its statements may be long."""
    with limits.within(limits.long()):
        return next(pieces, b"")


def _pieces(sections: Iterator[Section]) -> Iterator[bytes]:
    piece = bytearray()
    for token in _tokens(sections):
        piece += token
        if len(piece) >= PIECE_BYTES:
            yield bytes(piece)
            piece.clear()
    yield bytes(piece)


def _tokens(sections: Iterator[Section]) -> Iterator[bytes]:
    yield b'{"data":{'
    for number, (name, content) in enumerate(sections):
        yield b"%b%b:" % (b"," if number else b"", json.dumps(name))
        yield from [json.dumps(content)] if isinstance(content, dict) else _array(content)
    yield b"}}"


def _array(rows: Iterable[dict[str, Any]]) -> Iterator[bytes]:
    yield b"["
    for number, row in enumerate(rows):
        yield (b"," if number else b"") + json.dumps(row)
    yield b"]"
