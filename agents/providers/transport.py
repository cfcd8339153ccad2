"""The aiohttp transport of `openai`, which delivers a broken body as far as it arrived."""

# Imported at the first request to a provider: importing `openai` takes a second (`lunaos.infra.lazy_imports`).

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

import aiohttp
import httpx2
import openai  # noqa: F401 - whole, before a part of it: threads that import it from both ends wait for each other
from openai._vendor.httpx_aiohttp.transport import AiohttpResponseStream, AiohttpTransport

# The body that is being read, by connection.
_bodies: "WeakKeyDictionary[Any, Body]" = WeakKeyDictionary()


class Transport(AiohttpTransport):
    """Wraps each response's body."""

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        response = await super().handle_async_request(request)
        if isinstance(response.stream, AiohttpResponseStream):
            response.stream = Body(response.stream._aiohttp_response)
        return response


class Body(AiohttpResponseStream):
    """Response body that differs from aiohttp's if the connection breaks."""

    # Data that arrived before is delivered first: aiohttp raises although its buffer holds the rest of an answer. A
    # connection closed for broken framing ends the body at once: aiohttp does not notify its reader.

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        super().__init__(response)
        self._content = response.content
        self._protocol = protocol = response.connection.protocol if response.connection else None
        if protocol is None:
            return
        if protocol not in _bodies and (closed := protocol.closed) is not None:
            closed.add_done_callback(partial(_on_closed, protocol))
        _bodies[protocol] = self

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for piece in super().__aiter__():
                yield piece
        except (httpx2.HTTPError, aiohttp.ClientError, OSError):
            if rest := self._content._read_nowait(-1):
                yield rest
            raise
        except RuntimeError as e:
            # aiohttp raises it where a connection is closed before its reader begins to wait.
            if self._protocol is not None and self._protocol.connected:
                raise
            if rest := self._content._read_nowait(-1):
                yield rest
            raise aiohttp.ClientPayloadError("the connection was closed") from e

    def fail(self) -> None:
        """Signal to the reader that no more data follows."""
        if not self._content.is_eof() and self._content.exception() is None:
            self._content.set_exception(aiohttp.ClientPayloadError("the connection was closed"))


def _on_closed(protocol: Any, closed: "asyncio.Future[None]") -> None:
    if not closed.cancelled():
        closed.exception()  # retrieves the exception, so that asyncio does not log it
    if body := _bodies.pop(protocol, None):
        body.fail()
