"""A server on the loopback that sends everybody elsewhere, and one that notes who comes there."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Elsewhere:
    """Two servers in threads of their own; `with Elsewhere(307) as elsewhere: …`.

    Args:
        status: of the redirect; may be another later.
    """

    def __init__(self, status: int = 307) -> None:
        self.status = status
        self.asked: list[str] = []
        self.led_away: list[dict[str, str]] = []
        self._target = self._server(lambda handler: self._arrives(handler))
        self._source = self._server(lambda handler: self._leads_away(handler))

    @property
    def base_url(self) -> str:
        """Of the server that redirects."""
        return f"http://127.0.0.1:{self._source.server_port}/v1"

    def __enter__(self) -> "Elsewhere":
        for server in (self._source, self._target):
            threading.Thread(target=server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        for server in (self._source, self._target):
            server.shutdown()
            server.server_close()

    def _leads_away(self, handler: BaseHTTPRequestHandler) -> None:
        self.asked.append(handler.path)
        handler.send_response(self.status)
        handler.send_header("Location", f"http://localhost:{self._target.server_port}{handler.path}")
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    def _arrives(self, handler: BaseHTTPRequestHandler) -> None:
        self.led_away.append(dict(handler.headers))
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
                """Say nothing."""

        return ThreadingHTTPServer(("127.0.0.1", 0), Handler)
