"""Limits of a web process on request line, headers, body and time of a request."""

# A request that exceeds a limit is not read further; the application answers it like any other request.

import asyncio
import re
from io import BytesIO
from typing import Any, cast
from urllib.parse import unquote_to_bytes

from daphne import http_protocol, server, ws_protocol  # server installs the asyncio reactor
from daphne.utils import HEADER_NAME_RE, INVALID_HEADER_VALUE_BYTES
from django.conf import settings
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.web import http

from accounts.signin import jwt
from apikeys import secret
from lunaos.api import bodies, paths
from lunaos.errors import BadRequest, HeadersTooLarge, LunaError, PayloadTooLarge, RequestTimeout, UriTooLong
from lunaos.infra import patches
from lunaos.websockets import BoundedWebSocket

# Daphne reads a whole request before it calls the application, so the limits lie in front of Daphne, in Twisted's HTTP
# channel.
MAX_REQUEST_LINE_BYTES = 4_096
MAX_HEADERS_BYTES = 16_384
MIN_BYTES_PER_S = 32_768  # required of a request that takes longer than READ_TIMEOUT_S
# A chunk costs as much as a kilobyte of body: beyond FREE_CHUNKS, chunks must hold MIN_CHUNK_BYTES on average.
FREE_CHUNKS, MIN_CHUNK_BYTES = 10_000, 64
# What a refused client still sends is discarded, so that the client gets the answer instead of a reset connection.
LINGER_S, MAX_DISCARDED_BYTES = 2.0, 8 * 2**20
CREDENTIAL_FORMATS = {
    bodies.AUTHORIZATION: re.compile(
        rf"\Abearer\s{{1,4}}(?:{secret.KEY_PATTERN.pattern}|{jwt.TOKEN_PATTERN.pattern})".encode(), re.IGNORECASE
    ),
    bodies.COOKIE: re.compile(rb"(?:\A|[;\s])sessionid=[a-z0-9]{32}(?:;|\Z)"),
    bodies.STRIPE_SIGNATURE: re.compile(rb"\At=\d{1,12},(?:v0=\w{1,128},)?v1=[0-9a-f]{64}"),
}
# Twisted has few annotations, and some are wrong.
HTTPChannel: Any = http.HTTPChannel
ROOT_PATH_HEADER = b"Daphne-Root-Path"  # Daphne lets any client choose the application's root path by it
DAPHNE_KILL_ALL_APPLICATIONS: Any = server.Server.kill_all_applications
BODY_HEADERS = (b"Content-Length", b"Content-Type", b"Transfer-Encoding", b"Upgrade", b"Expect")


def install() -> None:
    patches.bound_daphne(
        http_protocol,
        ws_protocol.WebSocketFactory,
        request=BoundedRequest,
        channel=lambda: http._GenericHTTPChannelProtocol(BoundedHTTPChannel()),
        websocket=BoundedWebSocket,
    )
    patches.replace_daphne_kill(server.Server, _kill_all_applications)


def _kill_all_applications(daphne: Any) -> "Deferred[Any]":
    # Daphne 4.2 forgets an application that has ended while its connection is open: a WebSocket whose client does not
    # answer the close. At such a connection Daphne raises KeyError, and cancels no further application.
    for details in daphne.connections.values():
        if "application_instance" not in details:
            details["application_instance"] = ended = asyncio.get_event_loop().create_future()
            ended.set_result(None)
    return cast("Deferred[Any]", DAPHNE_KILL_ALL_APPLICATIONS(daphne))


class BoundedRequest(http_protocol.WebRequest):
    """Daphne's request, which reads no more than its route allows its sender."""

    # The error for which reading has stopped.
    refusal: LunaError | None = None
    _received_bytes = 0
    _received_chunks = 0
    _max_body_bytes: int | None = None

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._parsePOSTFormSubmission = False  # unused, and Twisted takes quadratic time on the event loop

    def gotLength(self, length: int | None) -> None:  # noqa: N802 - of Twisted
        # By its Content-Length; a body without one is counted while it arrives.
        if (length or 0) > bodies.MAX_ANONYMOUS_BODY_BYTES and cast(int, length) > self.max_body_bytes:
            self.content = BytesIO()
            self._refuse_body()
        else:
            super().gotLength(length)

    def handleContentChunk(self, data: bytes) -> None:  # noqa: N802 - of Twisted
        if self.refusal:
            return
        self._received_bytes += len(data)
        self._received_chunks += 1
        if self._received_chunks > FREE_CHUNKS + self._received_bytes // MIN_CHUNK_BYTES:
            self.channel.refuse(BadRequest("The chunks of the request body are too small."))
        elif self._received_bytes > bodies.MAX_ANONYMOUS_BODY_BYTES and self._received_bytes > self.max_body_bytes:
            self._refuse_body()
        else:
            super().handleContentChunk(data)

    @property
    def max_body_bytes(self) -> int:
        """Return the bytes that the route accepts from this sender."""
        if self._max_body_bytes is None:
            path = unquote_to_bytes(self.channel._path.partition(b"?")[0]).decode(errors="replace")
            limit, header = bodies.get_body_limit(
                paths.normalize(path), self.channel._command.decode("ascii", "replace")
            )
            credentials = self.requestHeaders.getRawHeaders(header.encode(), [])
            is_known = any(CREDENTIAL_FORMATS[header].search(value) for value in credentials)
            self._max_body_bytes = limit if is_known else min(limit, bodies.MAX_ANONYMOUS_BODY_BYTES)
        return self._max_body_bytes

    def _refuse_body(self) -> None:
        self.channel.refuse(PayloadTooLarge(f"The request body is larger than {self.max_body_bytes} bytes."))

    def process(self) -> Any:
        """Pass the request to the application; a refused request without its body."""
        self.requestHeaders.removeHeader(ROOT_PATH_HEADER)
        if self.refusal:
            self.content = BytesIO()
            for name in BODY_HEADERS:
                self.requestHeaders.removeHeader(name)
        token = bodies.early_error.set(self.refusal)
        try:
            return super().process()
        finally:
            bodies.early_error.reset(token)

    def basic_error(self, status: int, status_text: bytes, body: str) -> None:
        """Have the application answer a request that Daphne cannot read."""
        if status != 400 or self.refusal or self._response_started:
            super().basic_error(status, status_text, body)
            return
        self.refusal = BadRequest(f"{body}.")
        self.uri = self.path = b"/"
        for name, values in list(self.requestHeaders.getAllRawHeaders()):
            if not HEADER_NAME_RE.fullmatch(name) or any(map(INVALID_HEADER_VALUE_BYTES.intersection, values)):
                self.requestHeaders.removeHeader(name)
        self.process()


class BoundedHTTPChannel(HTTPChannel):
    MAX_LENGTH = MAX_HEADERS_BYTES
    totalHeadersSize = MAX_REQUEST_LINE_BYTES + MAX_HEADERS_BYTES + 1
    requests: list[Any]
    _handlingRequest: bool
    _header_bytes = 0
    _refused = False
    _discarded = 0
    _read_timer: Any = None  # ends a request that arrives too slowly
    _read_bytes, _read_since = 0, 0.0
    _abort_timer: Any = None

    def dataReceived(self, data: bytes) -> None:  # noqa: N802 - of Twisted
        super().dataReceived(data)
        # Between two requests, or while one is answered, the client may take its time.
        if self._handlingRequest or not (self._buffer or self._in_request):
            self._cancel_read_timer()
        elif self._read_timer is None:
            self._read_bytes, self._read_since = len(data), self._now()
            self._read_timer = self.callLater(settings.READ_TIMEOUT_S, self._check_read_rate)
        else:
            self._read_bytes += len(data)

    def lineReceived(self, line: bytes) -> None:  # noqa: N802 - of Twisted
        if self._refused:
            return
        self._header_bytes = self._header_bytes + len(line) + len(self.delimiter) if self._in_request else 0
        if not self._in_request and len(line) > MAX_REQUEST_LINE_BYTES:
            self.refuse(UriTooLong())
        elif self._header_bytes > MAX_HEADERS_BYTES:
            self.refuse(HeadersTooLarge())
        else:
            super().lineReceived(line)

    def lineLengthExceeded(self, line: bytes) -> None:  # noqa: N802 - of Twisted
        self.refuse(HeadersTooLarge() if self._in_request else UriTooLong())

    def refuse(self, error: LunaError) -> None:
        """Stop reading, have the application answer, and close the connection."""
        if self._refused or self._handlingRequest:
            return
        self._refused = self._handlingRequest = True
        self.persistent = False
        self._cancel_read_timer()
        self.setTimeout(None)
        self.setRawMode()
        if not self.requests:
            self.requests.append(self.requestFactory(self))
        request = self.requests[0]
        request.refusal = error
        request.content = BytesIO()
        request.responseHeaders.setRawHeaders(b"Connection", [b"close"])
        command, path, version = b"GET", b"/", b"HTTP/1.1"
        if self._in_request:
            command, path, version = self._command, self._path, self._version
        request.requestReceived(command, path, version)

    def allContentReceived(self) -> None:  # noqa: N802 - of Twisted
        if not self._refused:
            super().allContentReceived()

    def rawDataReceived(self, data: bytes) -> None:  # noqa: N802 - of Twisted
        if not self._refused:
            super().rawDataReceived(data)
            return
        self._discarded += len(data)
        if self._discarded > MAX_DISCARDED_BYTES:
            self._networkProducer.pauseProducing()

    def requestDone(self, request: Any) -> None:  # noqa: N802 - of Twisted
        if not self._refused:
            super().requestDone(request)
            return
        self.requests.remove(request)
        # Only this side is closed: the client may still send, and is to read the answer.
        self.transport.loseWriteConnection()
        self._abort_timer = self.callLater(LINGER_S, self.transport.abortConnection)

    def connectionLost(self, reason: Any) -> None:  # noqa: N802 - of Twisted
        self._cancel_read_timer()
        if self._abort_timer is not None and self._abort_timer.active():
            self._abort_timer.cancel()
        super().connectionLost(reason)

    def _respondToBadRequestAndDisconnect(self) -> None:  # noqa: N802 - of Twisted
        self.refuse(BadRequest())

    def _send100Continue(self) -> None:  # noqa: N802 - of Twisted
        if not self._refused:
            super()._send100Continue()

    @property
    def _in_request(self) -> bool:
        # Twisted sets `_command` at the request line, and deletes it when the body has ended.
        return hasattr(self, "_command")

    def _check_read_rate(self) -> None:
        remaining_s = settings.READ_TIMEOUT_S + self._read_bytes / MIN_BYTES_PER_S - (self._now() - self._read_since)
        self._read_timer = None
        if remaining_s > 0:
            self._read_timer = self.callLater(remaining_s, self._check_read_rate)
        else:
            self.refuse(RequestTimeout())

    def _cancel_read_timer(self) -> None:
        if self._read_timer is not None:
            self._read_timer.cancel()
            self._read_timer = None

    def _now(self) -> float:
        return float(cast(Any, reactor).seconds())
