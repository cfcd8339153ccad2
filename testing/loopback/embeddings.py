"""A scripted `/v1/embeddings` that changes models, fails or waits as tests ask."""

# Its vectors are bags of words: texts with words in common are near each other.

import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import orjson

from rag.search import words


class EmbeddingsServer:
    """The server, in threads of its own; use it as context manager."""

    def __init__(self, dimension: int = 384) -> None:
        self.dimension = dimension
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.resume = threading.Event()
        self.reset()

    def reset(self) -> None:
        self.models: set[str] = set()
        self.requests: list[dict[str, Any]] = []
        self.received = threading.Semaphore(0)
        self.status, self.body = 200, b"{}"
        self._free = 0
        self.resume.set()

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/v1"

    @property
    def texts(self) -> list[str]:
        return [text for request in self.requests for text in request["input"]]

    def respond_with(self, status: int, body: bytes = b"{}") -> None:
        self.status, self.body = status, body

    @contextmanager
    def blocked(self, after: int = 0) -> Iterator[None]:
        """Make requests after the first `after` wait for the end of the block."""
        self._free = after
        self.resume.clear()
        try:
            yield
        finally:
            self.resume.set()

    def __enter__(self) -> "EmbeddingsServer":
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.resume.set()
        self._server.shutdown()
        self._server.server_close()

    def _answer(self, request: dict[str, Any]) -> tuple[int, bytes]:
        self.requests.append(request)
        self.received.release()
        if len(self.requests) > self._free:
            self.resume.wait(60)
        if self.models and request["model"] not in self.models:
            return 404, b'{"error": {"message": "no such model"}}'
        if self.status != 200 or self.body != b"{}":
            return self.status, self.body
        data = [{"index": n, "embedding": self._vector(text)} for n, text in enumerate(request["input"])]
        return 200, orjson.dumps({"object": "list", "model": request["model"], "data": data})

    def _vector(self, text: str) -> list[float]:
        vector = [0.001] * self.dimension
        for word in words.split_words(text):
            vector[zlib.crc32(word.encode()) % self.dimension] += 1.0
        return vector

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        embeddings = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                request = orjson.loads(self.rfile.read(int(self.headers["Content-Length"])))
                status, body = embeddings._answer(request)
                try:
                    self.send_response(status)
                    self.send_header("Content-Type", "application/json")
                    self.send_header("Content-Length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body)
                except OSError:
                    pass  # the client was killed

            def log_message(self, *args: Any) -> None:
                """Write no log."""

        return Handler
