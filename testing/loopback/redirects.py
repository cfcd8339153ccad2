"""A server that redirects to another one, which records the requests."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class RedirectingServer:
    """Two servers in threads of their own; `status` of the redirect may be changed."""

    def __init__(self, status: int = 307) -> None:
        self.status = status
        self.received: list[str] = []
        self.redirected: list[dict[str, str]] = []
        self._target = self._server(lambda handler: self._record_redirected(handler))
        self._source = self._server(lambda handler: self._redirect(handler))

    @property
    def base_url(self) -> str:
        """Return the base URL of the server that redirects."""
        return f"http://127.0.0.1:{self._source.server_port}/v1"

    def __enter__(self) -> "RedirectingServer":
        for server in (self._source, self._target):
            threading.Thread(target=server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        for server in (self._source, self._target):
            server.shutdown()
            server.server_close()

    def _redirect(self, handler: BaseHTTPRequestHandler) -> None:
        self.received.append(handler.path)
        handler.send_response(self.status)
        handler.send_header("Location", f"http://localhost:{self._target.server_port}{handler.path}")
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    def _record_redirected(self, handler: BaseHTTPRequestHandler) -> None:
        self.redirected.append(dict(handler.headers))
        handler.send_response(200)
        handler.send_header("Content-Length", "2")
        handler.end_headers()
        handler.wfile.write(b"{}")

    def _server(self, answer: Any) -> ThreadingHTTPServer:
        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                answer(self)

            def do_GET(self) -> None:
                answer(self)

            def log_message(self, *args: Any) -> None:
                """Write no log."""

        return ThreadingHTTPServer(("127.0.0.1", 0), Handler)
