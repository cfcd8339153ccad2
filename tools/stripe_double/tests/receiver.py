"""A webhook for the double's events, in a thread."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import stripe


@dataclass
class WebhookReceiver:
    """Records its deliveries; answers with the next of `statuses`, then with 200."""

    statuses: list[int] = field(default_factory=list)
    got: list[tuple[bytes, str]] = field(default_factory=list)
    changed: threading.Condition = field(default_factory=threading.Condition)

    def __enter__(self) -> "WebhookReceiver":
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self.take))
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/hook"
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def reset(self) -> None:
        self.statuses.clear()
        self.got.clear()

    def take(self, body: bytes, signature: str) -> int:
        with self.changed:
            self.got.append((body, signature))
            self.changed.notify_all()
            return self.statuses.pop(0) if self.statuses else 200

    def until(self, count: int) -> list[tuple[bytes, str]]:
        """Wait for a number of deliveries and return them."""
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.got) >= count, timeout=15), f"{len(self.got)} deliveries"
            return list(self.got)

    def events(self, count: int, secret: str) -> list[stripe.Event]:
        """Return the deliveries as events, each with a signature that the SDK verified."""
        return [stripe.Webhook.construct_event(body, signature, secret) for body, signature in self.until(count)]


def _handler(take: Callable[[bytes, str], int]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(take(body, self.headers["Stripe-Signature"]))
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Log nothing."""

    return Handler
