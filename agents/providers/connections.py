"""Connections to providers: one pool per base URL and event loop, over `openai`'s aiohttp transport."""

# The client's own `post` is not used: it validates typed data again, and reads the body of an error without a bound
# (docs/adr/0041).

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from contextvars import ContextVar
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import httpx2
import orjson
from django.conf import settings

from agents.providers.contents import parse
from agents.providers.reply import Attempt
from lunaos.infra import event_loop, lazy_imports

if TYPE_CHECKING:
    import aiohttp
    import openai

    from agents.providers import transport
else:
    aiohttp, openai = lazy_imports.LazyModule("aiohttp"), lazy_imports.LazyModule("openai")
    transport = lazy_imports.LazyModule("agents.providers.transport")

Response = httpx2.Response
UNREACHABLE_ERRORS = (httpx2.ConnectError, httpx2.ConnectTimeout)
PLACEHOLDER_KEY = "none"  # for servers that require no key
MAX_CONNECTIONS = 1_000  # to one provider, as in `openai`
MAX_ERROR_BYTES, ERROR_BODY_S = 65_536, 2.0  # limits of reading an error body
DRAIN_S = 1.0  # to read the end of a complete answer, so that its connection can be used again
HEADERS = {
    "Content-Type": "application/json",
    "Accept": "text/event-stream",
    "Accept-Encoding": "identity",  # compression delays a stream, and its decompressed size has no bound
    "User-Agent": "LunaOS",
}

# By base URL: users' keys travel with their requests, so the number of clients is that of the providers.
_clients: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, httpx2.AsyncClient]] = WeakKeyDictionary()
_attempt: ContextVar[Attempt | None] = ContextVar("attempt", default=None)


class ErrorResponse(Exception):
    """A response of a provider with another status than 200."""

    # The body is parsed JSON or text, up to MAX_ERROR_BYTES.

    def __init__(self, status: int, body: object, headers: httpx2.Headers) -> None:
        super().__init__(f"status {status}")
        self.status, self.body, self.headers = status, body, headers


def connection_errors() -> tuple[type[Exception], ...]:
    """Return the exceptions that a connection raises."""
    return (httpx2.HTTPError, aiohttp.ClientError, OSError, UnicodeError)


async def post(attempt: Attempt, path: str, body: dict[str, Any]) -> httpx2.Response:
    """Send a request, note in `attempt.sent` that it left, and return the open response.

    Raises:
        ErrorResponse: the response is no success.
        httpx2.HTTPError, aiohttp.ClientError, OSError: there is no response.
    """
    provider = attempt.target.provider
    client = _client(provider.base_url)
    headers = {**HEADERS, "Authorization": f"Bearer {provider.api_key or PLACEHOLDER_KEY}"}
    url = provider.base_url.rstrip("/") + path
    token = _attempt.set(attempt)
    try:
        request = client.build_request("POST", url, headers=headers, content=orjson.dumps(body))
        response = await client.send(request, stream=True)
    finally:
        _attempt.reset(token)
    attempt.sent = True
    if not response.is_success:
        raise ErrorResponse(response.status_code, await _error_of(response), response.headers)
    return response


async def close_response(response: httpx2.Response, pieces: AsyncIterator[bytes], *, complete: bool) -> None:
    """Close a response."""
    # After a complete answer, read the rest to use the connection again.
    if complete:
        event_loop.create_background_task(_drain(response, pieces))
    else:
        await response.aclose()


async def close_all() -> None:
    """Close this event loop's connections."""
    for client in _clients.pop(asyncio.get_running_loop(), {}).values():
        await client.aclose()


async def _error_of(response: httpx2.Response) -> object:
    raw = bytearray()
    with suppress(*connection_errors()):
        async with asyncio.timeout(ERROR_BODY_S):
            async for piece in response.aiter_bytes():
                raw += piece[:MAX_ERROR_BYTES]
                if len(raw) >= MAX_ERROR_BYTES:
                    break
    with suppress(*connection_errors()):
        await response.aclose()
    try:
        return parse(bytes(raw))
    except ValueError:
        return raw.decode(errors="replace")


async def _drain(response: httpx2.Response, pieces: AsyncIterator[bytes]) -> None:
    with suppress(*connection_errors()):
        try:
            async with asyncio.timeout(DRAIN_S):
                async for _ in pieces:
                    pass
        finally:
            await response.aclose()


def _client(base_url: str) -> httpx2.AsyncClient:
    # Return the client, and thus the connection pool, of a base URL and event loop.
    # The client follows no redirects and stores no cookies, so nothing passes between users' requests.
    clients = _clients.setdefault(asyncio.get_running_loop(), {})
    if base_url not in clients:
        clients[base_url] = openai.DefaultAioHttpClient(
            transport=transport.Transport(client=_session),
            timeout=httpx2.Timeout(None, connect=settings.LLM_CONNECT_TIMEOUT_S),
            follow_redirects=False,
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
        )
    return clients[base_url]


def _session() -> aiohttp.ClientSession:
    # Return a session that sets `Attempt.sent` when a request has been sent.
    trace = aiohttp.TraceConfig()
    trace.on_request_headers_sent.append(_mark_sent)
    connector = aiohttp.TCPConnector(limit=MAX_CONNECTIONS, ssl=httpx2.create_ssl_context())
    return aiohttp.ClientSession(connector=connector, trace_configs=[trace], cookie_jar=aiohttp.DummyCookieJar())


async def _mark_sent(*_: object) -> None:
    if attempt := _attempt.get():
        attempt.sent = True
