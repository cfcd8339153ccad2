"""A scripted OpenAI-compatible server, in place of a model provider."""

# The script selects the answer, not the model's name.

import asyncio
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import orjson
from aiohttp import web


@dataclass
class Answer:
    """The answer to one request."""

    # Executed in turn: bytes are written, a float is slept, "wait" waits for `resume`, "pause" waits for `resume` and
    # clears it, "hang" waits until the client disconnects, "cut" aborts the connection.
    pieces: list[bytes | float | str] = field(default_factory=list)
    # Any status but 200 sends `body` and no stream.
    status: int = 200
    body: bytes = b"{}"
    headers: dict[str, str] = field(default_factory=dict)


def delta(text: str, finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": {"content": text} if text else {}, "finish_reason": finish}
    return b"data: " + orjson.dumps({"id": "c", "object": "chat.completion.chunk", "choices": [choice]}) + b"\n\n"


def reasoning_delta(text: str) -> bytes:
    choice = {"index": 0, "delta": {"reasoning_content": text}, "finish_reason": None}
    return b"data: " + orjson.dumps({"id": "c", "object": "chat.completion.chunk", "choices": [choice]}) + b"\n\n"


def usage(input_tokens: int, output_tokens: int, **details: Any) -> bytes:
    """Encode the last chunk, with the provider's token counts and further details."""
    counts = {"prompt_tokens": input_tokens, "completion_tokens": output_tokens, **details}
    return b"data: " + orjson.dumps({"choices": [], "usage": counts}) + b"\n\n"


DONE = b"data: [DONE]\n\n"


def completion(*texts: str, tokens: tuple[int, int] | None = (11, 7)) -> Answer:
    """Return a complete, well-formed answer, sent at once."""
    end = [delta("", "stop"), *([usage(*tokens)] if tokens else []), DONE]
    return Answer(pieces=[b"".join([*map(delta, texts), *end])])


class Upstream:
    """The server, in a thread of its own; use it as context manager."""

    def __init__(self) -> None:
        self.script: Callable[[dict[str, Any]], Answer] = lambda request: completion("Hello", " world")
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.peers: list[Any] = []  # the client's end of the connection of each request
        self.client_gone = threading.Event()
        self.resume = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self.port = 0

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def reset(self) -> None:
        self.requests.clear()
        self.headers.clear()
        self.peers.clear()
        self.client_gone.clear()
        self.resume.clear()
        self.script = lambda request: completion("Hello", " world")

    def respond_with(self, *answers: Answer) -> None:
        """Answer with these in turn, then always with the last."""
        remaining = list(answers)
        self.script = lambda request: remaining.pop(0) if len(remaining) > 1 else remaining[0]

    def __enter__(self) -> "Upstream":
        self._thread.start()
        self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        # Explicitly: the garbage collector would warn in the middle of other tests.
        asyncio.run_coroutine_threadsafe(self._runner.cleanup(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._listen())
        self._ready.set()
        self._loop.run_forever()

    async def _listen(self) -> None:
        app = web.Application()
        app.router.add_post("/v1/chat/completions", self._handle)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        request_body = await request.json()
        self.requests.append(request_body)
        self.headers.append(dict(request.headers))
        self.peers.append(request.transport and request.transport.get_extra_info("peername"))
        answer = self.script(request_body)
        if answer.status != 200:
            return web.Response(status=answer.status, body=answer.body, headers=answer.headers)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", **answer.headers})
        await response.prepare(request)
        try:
            await self._play(request, response, answer)
        except (ConnectionError, asyncio.CancelledError):
            self.client_gone.set()
            raise
        return response

    async def _play(self, request: web.Request, response: web.StreamResponse, answer: Answer) -> None:
        for piece in answer.pieces:
            if isinstance(piece, bytes):
                await response.write(piece)
            elif isinstance(piece, float):
                await asyncio.sleep(piece)
            elif piece == "cut":
                assert request.transport
                request.transport.abort()
                return
            else:
                await self._until_gone(request, or_resumed=piece != "hang")
                if piece == "pause":
                    self.resume.clear()

    async def _until_gone(self, request: web.Request, *, or_resumed: bool) -> None:
        while request.transport and not request.transport.is_closing():
            if or_resumed and self.resume.is_set():
                return
            await asyncio.sleep(0.02)
        self.client_gone.set()
