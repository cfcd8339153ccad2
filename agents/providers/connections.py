"""Connections to providers: one aiohttp session, and thus one pool, per base URL and event loop."""

# `openai`'s client is not used for runs: its request and response take a fifth of a stream's processor time
# (docs/adr/0048).

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from http import HTTPStatus
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

    from agents.providers import bodies
else:
    aiohttp = lazy_imports.LazyModule("aiohttp")
    bodies = lazy_imports.LazyModule("agents.providers.bodies")

PLACEHOLDER_KEY = "none"  # for servers that require no key
MAX_CONNECTIONS = 1_000  # to one provider, as in `openai`; aiohttp's own limit is 100
MAX_ERROR_BYTES, ERROR_BODY_S = 65_536, 2.0  # limits of reading an error body
DRAIN_S = 1.0  # to read the end of a complete answer, so that its connection can be used again
HEADERS = {
    "Content-Type": "application/json",
    "Accept": "text/event-stream",
    "Accept-Encoding": "identity",  # compression delays a stream, and its decompressed size has no bound
    "User-Agent": "LunaOS",
}

# By base URL: users' keys travel with their requests, so the number of sessions is that of the providers.
_sessions: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, aiohttp.ClientSession]] = WeakKeyDictionary()


class ErrorResponse(Exception):
    """A response of a provider with another status than 2xx."""

    # The body is parsed JSON or text, up to MAX_ERROR_BYTES.

    def __init__(self, status: int, body: object, headers: Mapping[str, str]) -> None:
        super().__init__(f"status {status}")
        self.status, self.body, self.headers = status, body, headers


class Unreachable(Exception):
    """There is no connection to the provider."""


def connection_errors() -> tuple[type[Exception], ...]:
    """Return the exceptions that a connection raises."""
    return (Unreachable, aiohttp.ClientError, OSError, UnicodeError)


async def post(attempt: Attempt, path: str, body: dict[str, Any]) -> bodies.Response:
    """Send a request, note in `attempt.sent` that it left, and return the open response.

    Raises:
        ErrorResponse: the response is no success.
        Unreachable, aiohttp.ClientError, OSError: there is no response.
    """
    provider = attempt.target.provider
    headers = {**HEADERS, "Authorization": f"Bearer {provider.api_key or PLACEHOLDER_KEY}"}
    try:
        answer = await _session(provider.base_url).post(
            provider.base_url.rstrip("/") + path,
            data=orjson.dumps(body),
            headers=headers,
            allow_redirects=False,  # a redirect would carry the key to another server
            trace_request_ctx=attempt,
        )
    except aiohttp.ClientConnectionError as e:  # a time-out of connecting is one of these, and a TimeoutError
        raise Unreachable(str(e)) from e
    attempt.sent = True
    response = bodies.Response(answer)
    if not HTTPStatus(200) <= response.status < HTTPStatus(300):
        raise ErrorResponse(response.status, await _error_of(response), response.headers)
    return response


def close_response(response: bodies.Response, *, complete: bool) -> None:
    # After a complete answer, read the rest to use the connection again.
    if complete and not response.at_end:
        event_loop.create_background_task(_drain(response))
    else:
        response.close()


async def close_all() -> None:
    """Close this event loop's connections."""
    for session in _sessions.pop(asyncio.get_running_loop(), {}).values():
        await session.close()


async def _error_of(response: bodies.Response) -> object:
    raw = bytearray()
    with suppress(*connection_errors()):
        async with asyncio.timeout(ERROR_BODY_S):
            while len(raw) < MAX_ERROR_BYTES and (piece := await response.read()):
                raw += piece[: MAX_ERROR_BYTES - len(raw)]
    response.close()
    try:
        return parse(bytes(raw))
    except ValueError:
        return raw.decode(errors="replace")


async def _drain(response: bodies.Response) -> None:
    with suppress(*connection_errors()):
        try:
            async with asyncio.timeout(DRAIN_S):
                while await response.read():
                    pass
        finally:
            response.close()


def _session(base_url: str) -> aiohttp.ClientSession:
    # The session follows no redirects, stores no cookies and reads no proxy or password from the environment
    # (`trust_env`), so nothing passes between users' requests.
    sessions = _sessions.setdefault(asyncio.get_running_loop(), {})
    if base_url not in sessions:
        trace = aiohttp.TraceConfig()
        trace.on_request_headers_sent.append(_mark_sent)
        sessions[base_url] = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=MAX_CONNECTIONS, ssl=httpx2.create_ssl_context()),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=settings.LLM_CONNECT_TIMEOUT_S),
            trace_configs=[trace],
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
        )
    return sessions[base_url]


async def _mark_sent(_: object, context: Any, __: object) -> None:
    context.trace_request_ctx.sent = True
