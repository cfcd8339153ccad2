"""A streamed chat completion from any server that speaks OpenAI's protocol.

The response is read in raw blocks: what arrived together is decoded together and goes out together, which is worth a
factor of two over the client's typed stream.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import httpx2
import orjson
from django.conf import settings

from agents.providers import Provider, Target
from agents.providers.errors import ProviderFailed, ProviderKeyRejected, ProviderTimeout, ProviderUnavailable
from lunaos import deferred

if TYPE_CHECKING:
    import aiohttp
    import openai
else:
    aiohttp, openai = deferred.Module("aiohttp"), deferred.Module("openai")

NO_KEY = "none"  # for servers that ask for none; the client wants one
DEFAULT_RETRY_S, LONGEST_RETRY_S = 5, 3_600
MOST_TOKENS = 100_000_000  # of one answer: who counts more has miscounted
OVERLOADED = {429, 502, 503, 504, 529}
REFUSED = {400, 404, 413, 422}
KEY_REFUSED = {401, 403}

# By base URL, so that there are as many as providers, however many keys users bring: a key travels with its request.
_clients: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, openai.AsyncOpenAI]] = WeakKeyDictionary()


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


@dataclass(slots=True)
class Block:
    """What one read of the response brought.

    Args:
        texts: pieces of the answer, in order.
        tokens: input and output tokens, where the provider reported them.
        finish_reason: why the model stopped, where it did.
        alive: whether anything of the answer came, were it only reasoning.
    """

    texts: list[str] = field(default_factory=list)
    tokens: tuple[int, int] | None = None
    finish_reason: str | None = None
    alive: bool = False


async def stream(target: Target, prompt: Prompt) -> AsyncGenerator[Block, None]:
    """Ask, and yield what comes as it comes.

    Raises:
        ProviderUnavailable: it cannot be reached, or says it is overloaded.
        ProviderTimeout: no token, or no further token, within the settings' limits.
        ProviderKeyRejected: it refuses the user's own key.
        ProviderFailed: it refuses otherwise, or the answer is cut off or no event stream.
    """
    name, clock = target.provider.name, asyncio.get_running_loop().time
    deadline = clock() + settings.LLM_FIRST_TOKEN_TIMEOUT_S
    decoder = Decoder(name)
    try:
        async with asyncio.timeout_at(deadline):
            response = await _request(target, prompt)
        try:
            blocks = response.aiter_bytes()
            while True:
                async with asyncio.timeout_at(deadline):
                    raw = await anext(blocks, None)
                if raw is None:
                    break
                block = decoder.feed(raw)
                if block.alive:  # comments that only keep the connection open are no progress
                    deadline = clock() + settings.LLM_IDLE_TIMEOUT_S
                    yield block
        finally:
            await response.aclose()
    except TimeoutError as e:
        raise ProviderTimeout(f"{name} did not answer in time.") from e
    except (openai.OpenAIError, httpx2.HTTPError, aiohttp.ClientError, OSError) as e:
        raise _translate(target.provider, e) from e
    if not decoder.finished:
        raise ProviderFailed(f"{name} broke its answer off.", retryable=True)


async def _request(target: Target, prompt: Prompt) -> httpx2.Response:
    """Send by the client's own `post`: its `create` takes half a millisecond to check what is typed here already."""
    body = {
        "model": target.model,
        "messages": prompt.messages,
        "temperature": prompt.temperature,
        "max_tokens": target.provider.longest_answer(prompt.max_tokens),
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    key = {"Authorization": f"Bearer {target.provider.api_key or NO_KEY}"}
    stream = await _client(target.provider.base_url).post(
        "/chat/completions",
        cast_to=object,
        body=body,
        options={"headers": key},
        stream=True,
        stream_cls=openai.AsyncStream[object],
    )
    return stream.response


def _client(base_url: str) -> openai.AsyncOpenAI:
    """One client, and so one connection pool, a base URL and event loop.

    It follows nobody to another host, and carries nothing from one user's request to another's.
    """
    clients = _clients.setdefault(asyncio.get_running_loop(), {})
    if base_url not in clients:
        client = openai.AsyncOpenAI(
            base_url=base_url,
            api_key=NO_KEY,
            max_retries=0,
            http_client=openai.DefaultAioHttpClient(
                timeout=httpx2.Timeout(None, connect=settings.LLM_CONNECT_TIMEOUT_S),
                follow_redirects=False,
                cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
            ),
        )
        client.organization = client.project = None  # the environment's: no settings of ours, and of no user's account
        clients[base_url] = client
    return clients[base_url]


def _translate(provider: Provider, error: Exception) -> ProviderFailed:
    name = provider.name
    if isinstance(error, openai.APIStatusError):
        if provider.own_key and error.status_code in KEY_REFUSED:
            return ProviderKeyRejected(f"{name} refuses your own key. Send another one, or remove it.")
        return _of_status(name, error.status_code, error.response.headers.get("retry-after", ""))
    if isinstance(error, openai.APITimeoutError | httpx2.ConnectTimeout):
        return ProviderUnavailable(f"{name} cannot be reached.", retry_after=DEFAULT_RETRY_S)
    if isinstance(error, openai.APIConnectionError | httpx2.ConnectError):
        return ProviderUnavailable(f"{name} cannot be reached.", retry_after=DEFAULT_RETRY_S)
    return ProviderFailed(f"{name} broke its answer off.", retryable=True)


def _of_status(name: str, status: int, retry_after: str) -> ProviderFailed:
    if status in OVERLOADED:
        wait_s = min(int(retry_after[:6]), LONGEST_RETRY_S) if retry_after.isdecimal() else DEFAULT_RETRY_S
        return ProviderUnavailable(f"{name} is overloaded.", retry_after=wait_s)
    if status in REFUSED:
        reason = "the context may be too long for the model"
        return ProviderFailed(f"{name} refused the request with status {status}; {reason}.", elsewhere=False)
    return ProviderFailed(f"{name} answered with status {status}.", retryable=status >= 500)


class Decoder:
    """Turns raw blocks into `Block`s; a character or a line split between two reads waits for its rest."""

    def __init__(self, provider: str) -> None:
        self._provider = provider
        self._rest = b""
        self.finished = False

    def feed(self, raw: bytes) -> Block:
        """Decode all whole lines.

        Raises:
            ProviderFailed: the provider reported an error inside the stream, or sent no JSON.
        """
        *lines, self._rest = (self._rest + raw).split(b"\n")
        block = Block()
        for line in lines:
            if line.startswith(b"data:"):
                self._read(line[5:].strip(), block)
        return block

    def _read(self, data: bytes, block: Block) -> None:
        if data == b"[DONE]":
            self.finished = True
            return
        try:
            chunk = orjson.loads(data)
            if error := chunk.get("error"):
                raise ProviderFailed(f"{self._provider} reported an error in its answer.", retryable=bool(error))
            block.alive = True
            for choice in chunk.get("choices") or ():
                if text := (choice.get("delta") or {}).get("content"):
                    block.texts.append(_text(text))
                if reason := choice.get("finish_reason"):
                    block.finish_reason, self.finished = reason, True
            block.tokens = _counted(chunk.get("usage") or {}) or block.tokens
        except (orjson.JSONDecodeError, AttributeError, KeyError, TypeError) as e:
            raise ProviderFailed(f"{self._provider} sent something that is no chat completion.") from e


def _text(content: object) -> str:
    if not isinstance(content, str):
        raise TypeError("content is no text")
    return content


def _counted(usage: Mapping[str, Any]) -> tuple[int, int] | None:
    """Input and output tokens as the provider counts them; None where it sends something else, null among it."""
    given, made = usage.get("prompt_tokens"), usage.get("completion_tokens")
    if isinstance(given, int) and isinstance(made, int) and min(given, made) >= 0 and max(given, made) <= MOST_TOKENS:
        return given, made
    return None
