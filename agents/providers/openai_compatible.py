"""A streamed chat completion from any server that speaks OpenAI's protocol.

The response is read in raw blocks: what arrived together is decoded together and goes out together, which is worth a
factor of two over the client's typed stream.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import httpx2
from django.conf import settings

from agents.providers import Target, dialects, failures, marks
from agents.providers.decoding import Decoder
from agents.providers.errors import ProviderFailed, ProviderTimeout
from agents.providers.patience import Patience
from agents.providers.reply import Attempt, Block
from lunaos import deferred, loop

if TYPE_CHECKING:
    import aiohttp
    import openai
    from openai._vendor.httpx_aiohttp import transport
else:
    aiohttp, openai = deferred.Module("aiohttp"), deferred.Module("openai")
    transport = deferred.Module("openai._vendor.httpx_aiohttp.transport")

NO_KEY = "none"  # for servers that ask for none; the client wants one
MAX_CONNECTIONS = 1_000  # to one provider, as `openai` has it
DRAIN_S = 1.0  # for the end of a response whose answer has ended, so that its connection can be used again

# By base URL, so that there are as many as providers, however many keys users bring: a key travels with its request.
_clients: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, openai.AsyncOpenAI]] = WeakKeyDictionary()
_attempt: ContextVar[Attempt | None] = ContextVar("attempt", default=None)


@dataclass(frozen=True, slots=True)
class Prompt:
    """What to ask.

    Args:
        messages: OpenAI chat messages, `{"role", "content"}`.
        max_tokens: the longest answer, in the model's tokens.
    """

    messages: list[dict[str, str]]
    temperature: float
    max_tokens: int


async def stream(attempt: Attempt, prompt: Prompt, *, queue_s: float) -> AsyncGenerator[Block, None]:
    """Ask, and yield what comes as it comes; `attempt` holds the facts.

    Args:
        queue_s: for how long at most a provider is waited for that queues the request.

    Raises:
        ProviderUnavailable: it cannot be reached, or says it is overloaded.
        ProviderTimeout: no sign of life, or no further one, within the settings' limits.
        ProviderKeyRejected, ProviderQuotaExhausted: the user's own key, or the account behind it, is refused.
        ProviderFailed: it refuses otherwise, or the answer is cut off or none.
        OutputTooLong: a line is longer than a run may be.
    """
    provider, patience = attempt.target.provider, Patience(queue_s)
    try:
        async with asyncio.timeout_at(patience.deadline):
            response = await _request(attempt, prompt)
        decoder = Decoder(provider, attempt.reply)
        pieces = response.aiter_bytes()
        try:
            async for block in _blocks(pieces, decoder, patience):
                yield block
        finally:
            await _end(response, pieces, attempt)
    except TimeoutError as e:
        raise ProviderTimeout(f"{provider.name} did not answer in time.") from e
    except openai.APIStatusError as e:
        raise _refusal(attempt.target, e) from e
    except (openai.OpenAIError, httpx2.HTTPError, aiohttp.ClientError, OSError) as e:
        raise _broken(attempt, e) from e
    if decoder.error:
        raise decoder.error
    if not attempt.reply.complete:
        raise failures.broken_off(provider)


async def _blocks(pieces: AsyncIterator[bytes], decoder: Decoder, patience: Patience) -> AsyncGenerator[Block, None]:
    """Yield what comes until the answer ends; an answer that has said that it ends cannot fail any more."""
    failure: Exception | None = None
    while not decoder.error and not decoder.reply.nothing_to_follow:
        try:
            async with asyncio.timeout_at(patience.deadline):
                raw = await anext(pieces, None)
        except (TimeoutError, httpx2.HTTPError, aiohttp.ClientError, OSError) as e:
            failure = e
            break
        if raw is None:
            break
        block = decoder.feed(raw)
        patience.renew(block)
        yield block
    yield decoder.close()
    if failure and not decoder.reply.complete:
        raise failure


async def _end(response: httpx2.Response, pieces: AsyncIterator[bytes], attempt: Attempt) -> None:
    """Close the response; behind `[DONE]` its end is read first, aside, and the connection can be used again."""
    if attempt.reply.nothing_to_follow:
        loop.keep_running(_drain(response, pieces))
    else:
        await response.aclose()


async def _drain(response: httpx2.Response, pieces: AsyncIterator[bytes]) -> None:
    with suppress(TimeoutError, httpx2.HTTPError, aiohttp.ClientError, OSError):
        try:
            async with asyncio.timeout(DRAIN_S):
                async for _ in pieces:
                    pass
        finally:
            await response.aclose()


# -- The request -------------------------------------------------------------------------------------------------------


async def _request(attempt: Attempt, prompt: Prompt) -> httpx2.Response:
    """Ask, and ask again without a parameter that the model turns out not to support."""
    base_url, model = attempt.target.provider.base_url, attempt.target.model
    names = dialects.unsupported(base_url, model)
    while True:
        try:
            response = await _post(attempt, _body(attempt.target, prompt, names))
        except openai.APIStatusError as e:
            said = failures.read(e.body, e.status_code)
            fewer = dialects.without(names, said.parameter) if said.reason is failures.Reason.PARAMETER else None
            if fewer is None:
                raise
            names = fewer
        else:
            dialects.remember(base_url, model, names)
            return response


def _body(target: Target, prompt: Prompt, without: frozenset[str]) -> dict[str, Any]:
    body = {
        "model": target.model,
        "messages": marks.safe(target.provider, prompt.messages),
        "temperature": prompt.temperature,
        dialects.limit_name(without): target.longest_answer(prompt.max_tokens),
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    return {name: value for name, value in body.items() if name not in without}


async def _post(attempt: Attempt, body: dict[str, Any]) -> httpx2.Response:
    """Send by the client's own `post`: its `create` takes half a millisecond to check what is typed here already."""
    provider = attempt.target.provider
    token = _attempt.set(attempt)
    try:
        stream = await _client(provider.base_url).post(
            "/chat/completions",
            cast_to=object,
            body=body,
            options={"headers": {"Authorization": f"Bearer {provider.api_key or NO_KEY}"}},
            stream=True,
            stream_cls=openai.AsyncStream[object],
        )
    finally:
        _attempt.reset(token)
    attempt.sent = True
    return stream.response


def _client(base_url: str) -> openai.AsyncOpenAI:
    """Return one client, and so one connection pool, a base URL and event loop.

    It follows nobody to another host, and carries nothing from one user's request to another's.
    """
    clients = _clients.setdefault(asyncio.get_running_loop(), {})
    if base_url not in clients:
        client = openai.AsyncOpenAI(
            base_url=base_url,
            api_key=NO_KEY,
            max_retries=0,
            http_client=openai.DefaultAioHttpClient(
                transport=transport.AiohttpTransport(client=_session),  # its own, with a session of ours
                timeout=httpx2.Timeout(None, connect=settings.LLM_CONNECT_TIMEOUT_S),
                follow_redirects=False,
                cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
            ),
        )
        client.organization = client.project = None  # the environment's: no settings of ours, and of no user's account
        clients[base_url] = client
    return clients[base_url]


def _session() -> aiohttp.ClientSession:
    """Return a session that notes in `Attempt.sent` when a request has left."""
    trace = aiohttp.TraceConfig()
    trace.on_request_headers_sent.append(_note_sent)
    connector = aiohttp.TCPConnector(limit=MAX_CONNECTIONS, ssl=httpx2.create_ssl_context())
    return aiohttp.ClientSession(connector=connector, trace_configs=[trace])


async def _note_sent(*_: object) -> None:
    if attempt := _attempt.get():
        attempt.sent = True


# -- Failures ----------------------------------------------------------------------------------------------------------


def _refusal(target: Target, error: openai.APIStatusError) -> ProviderFailed:
    said = failures.read(error.body, error.status_code)
    return failures.translate(target.provider, said, error.response.headers, model=target.model)


def _broken(attempt: Attempt, error: Exception) -> ProviderFailed:
    """Translate what happened to the connection: before an answer began, or in the middle of one."""
    unreachable = (openai.APIConnectionError, httpx2.ConnectError, httpx2.ConnectTimeout)
    if isinstance(error, unreachable) and not attempt.reply.objects:
        return failures.unreachable(attempt.target.provider)
    return failures.broken_off(attempt.target.provider)
