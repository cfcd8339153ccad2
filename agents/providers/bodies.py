"""Bodies of providers' responses, delivered as far as they arrived if the connection breaks."""

# Imported at the first request to a provider, as aiohttp is (`lunaos.infra.lazy_imports`).

import asyncio
from collections.abc import Mapping
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

import aiohttp

MAX_READ_BYTES = 65_536

# The response that is being read, by connection.
_responses: "WeakKeyDictionary[Any, Response]" = WeakKeyDictionary()


class Response:
    """Response whose body differs from aiohttp's if the connection breaks."""

    # Data that arrived before is delivered first: aiohttp raises although its buffer holds the rest of an answer. A
    # connection closed for broken framing ends the body at once: aiohttp does not notify its reader.

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self.status: int = response.status
        self.headers: Mapping[str, str] = response.headers
        self._response, self._content = response, response.content
        self._failure: Exception | None = None  # raised by the next read
        self._protocol = protocol = response.connection.protocol if response.connection else None
        if protocol is None:  # the body has arrived with the headers
            return
        if protocol not in _responses and (closed := protocol.closed) is not None:
            closed.add_done_callback(partial(_on_closed, protocol))
        _responses[protocol] = self

    @property
    def at_end(self) -> bool:
        """Return whether the body has arrived whole, so that its connection is free."""
        return self._content.is_eof()

    async def read(self) -> bytes:
        """Return the bytes that have arrived, at least one; none at the end.

        Raises:
            aiohttp.ClientError, OSError: the connection broke; what arrived before has been returned.
        """
        if self._failure:
            raise self._failure
        try:
            return await self._content.read(MAX_READ_BYTES)
        except (aiohttp.ClientError, OSError) as e:
            return self._rest_before(e)
        except RuntimeError as e:
            # aiohttp raises it where a connection is closed before its reader begins to wait.
            if self._protocol is not None and self._protocol.connected:
                raise
            return self._rest_before(aiohttp.ClientPayloadError("the connection was closed"), e)

    def close(self) -> None:
        """Release the connection, which aiohttp closes unless the body is at its end."""
        self._response.release()

    def fail(self) -> None:
        """Signal to the reader that no more data follows."""
        if not self._content.is_eof() and self._content.exception() is None:
            self._content.set_exception(aiohttp.ClientPayloadError("the connection was closed"))

    def _rest_before(self, failure: Exception, cause: Exception | None = None) -> bytes:
        """Return the buffered bytes, and raise the failure after them."""
        if rest := self._content._read_nowait(-1):
            self._failure = failure
            return rest
        raise failure from cause


def _on_closed(protocol: Any, closed: "asyncio.Future[None]") -> None:
    if not closed.cancelled():
        closed.exception()  # retrieves the exception, so that asyncio does not log it
    if response := _responses.pop(protocol, None):
        response.fail()
