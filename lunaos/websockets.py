"""WebSockets: a bound on clients' messages, and answers to bad handshakes."""

import time
from collections.abc import Iterable
from typing import Any, cast

from asgiref.sync import sync_to_async
from daphne import ws_protocol
from django.http import HttpRequest, HttpResponse
from twisted.internet import reactor

from lunaos.api import fallback_response, ratelimit
from lunaos.api.exceptions import Forbidden, MethodNotAllowed
from lunaos.errors import BadRequest, LunaError, RateLimited, ServiceUnavailable
from lunaos.infra import event_loop
from lunaos.infra.observability import metrics

ROUTE = "websocket"  # of refused handshakes, in the metrics
# Clients only answer pings; the handshake counts too. A frame of six bytes costs the event loop as much as an event
# that is sent.
MAX_RECEIVED_BYTES, WINDOW_S = 32_768, 60.0
MAX_REASON_CHARACTERS = 200
Headers = Iterable[tuple[str, object]]


class BoundedWebSocket(ws_protocol.WebSocketProtocol):
    """Daphne's WebSocket, closed above MAX_RECEIVED_BYTES from the client in WINDOW_S."""

    _received, _received_since = 0, 0.0
    _connected_at = 0.0
    _is_refused = False
    _refusing: Any = None  # keeps the task alive

    def connectionMade(self) -> None:  # noqa: N802 - of Twisted
        self._connected_at = time.perf_counter()
        super().connectionMade()

    def dataReceived(self, data: bytes) -> None:  # noqa: N802 - of Twisted
        now = float(cast(Any, reactor).seconds())
        if now - self._received_since >= WINDOW_S:
            self._received, self._received_since = 0, now
        self._received += len(data)
        if self._received > MAX_RECEIVED_BYTES:
            self.transport.abortConnection()
        elif not self._is_refused:
            super().dataReceived(data)

    def onMessage(self, payload: bytes, isBinary: bool) -> None:  # noqa: N802, N803 - of Autobahn
        """Drop a message: no WebSocket of this platform takes any."""

    def failHandshake(self, reason: str, code: int = 400, responseHeaders: Headers | None = None) -> None:  # noqa: N802, N803 - of Autobahn
        """Answer in the contract's form, with the headers of all answers."""
        if not self._is_refused:
            self._is_refused = True
            self._refusing = event_loop.create_background_task(
                self._refuse(_error(reason, code), responseHeaders or ())
            )

    async def _refuse(self, error: LunaError, headers: Headers) -> None:
        try:
            # Failed handshakes are requests, too: otherwise guessing of credentials would be free.
            window = await sync_to_async(ratelimit.get_address_window, thread_sensitive=False)(
                self._request(), count=True
            )
            if window.exceeded:
                error = RateLimited(retry_after=window.seconds_left, limit=window.limit, tier=None)
            seconds = time.perf_counter() - self._connected_at
            response = fallback_response.create({"headers": self._sent_headers()}, error, seconds)
            for name, value in (*headers, *window.headers.items(), ("Connection", "close")):
                response[name] = str(value)
            if error.status == MethodNotAllowed.status:
                response["Allow"] = "GET"
            metrics.count_request(method="GET", route=ROUTE, status=response.status_code, seconds=seconds)
            self.transport.write(_serialize(response))
        finally:
            self.transport.loseConnection()

    def _sent_headers(self) -> list[tuple[bytes, bytes]]:
        # Missing if they could not be read.
        headers: dict[str, str] = getattr(self, "http_headers", None) or {}
        return [(name.encode("utf-8"), value.encode("utf-8")) for name, value in headers.items()]

    def _request(self) -> HttpRequest:
        # Only what the rate limit reads.
        request = HttpRequest()
        request.META["REMOTE_ADDR"] = str(getattr(self.transport.getPeer(), "host", ""))
        if forwarded := dict(self._sent_headers()).get(b"x-forwarded-for"):
            request.META["HTTP_X_FORWARDED_FOR"] = forwarded.decode("utf-8")
        return request


def _error(reason: str, code: int) -> LunaError:
    # Autobahn's own refusals, and the application's (403).
    if code == Forbidden.status:
        return Forbidden("There is no WebSocket at this path: connect to /ws/runs/{id}.")
    if code == MethodNotAllowed.status:
        return MethodNotAllowed("Method not allowed: use GET for a WebSocket handshake.")
    if code >= 500:
        return ServiceUnavailable() if code == ServiceUnavailable.status else LunaError()
    return BadRequest(f"The WebSocket handshake is invalid: {reason[:MAX_REASON_CHARACTERS]}.")


def _serialize(response: HttpResponse) -> bytes:
    response["Content-Length"] = str(len(response.content))
    lines = [f"HTTP/1.1 {response.status_code} {response.reason_phrase}"]
    lines += [f"{name}: {value}" for name, value in response.items()]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + response.content
