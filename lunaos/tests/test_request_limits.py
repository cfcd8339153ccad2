"""Limits of a web process on requests, sent byte by byte."""

import asyncio
import json
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPResponse
from types import SimpleNamespace
from typing import Any, cast
from urllib.parse import urlsplit

import pytest
from daphne import server
from django.urls import get_resolver
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.web import http

from lunaos import request_limits
from lunaos.api import bodies
from lunaos.api.tests.test_headers import SECURITY
from lunaos.errors import LunaError, RequestTimeout
from lunaos.infra.tests.test_thread_pools import views
from testing.client import Api, error

SMALL, MEDIUM = bodies.MAX_ANONYMOUS_BODY_BYTES, 1_048_576
KEY = b"Authorization: Bearer lnos_live_0123456789abcdef0123456789abcdef\r\n"
LOGIN = b"POST /auth/login HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


@contextmanager
def connected(url: str) -> Iterator[socket.socket]:
    where = urlsplit(url)
    with socket.create_connection((where.hostname, where.port), 20) as connection:
        yield connection


def answer(connection: socket.socket) -> tuple[int, str]:
    """Status and code of the answer, after a look at its headers."""
    response = HTTPResponse(connection)
    response.begin()
    headers = {name: response.headers.get(name) for name in SECURITY}
    assert headers == SECURITY
    assert "Server" not in response.headers
    assert re.fullmatch(r"total;dur=\d+\.\d", response.headers["Server-Timing"])
    assert response.headers["X-RateLimit-Limit"] and response.headers["X-Request-Id"]
    body = json.loads(response.read())
    return response.status, body.get("code", "ok")


def ask(url: str, *pieces: bytes) -> tuple[int, str]:
    with connected(url) as connection:
        for piece in pieces:
            connection.sendall(piece)
        return answer(connection)


def get(path: str = "/health", *lines: str) -> bytes:
    return "\r\n".join([f"GET {path} HTTP/1.1", "Host: localhost", *lines, "", ""]).encode()


def line_of(length: int) -> bytes:
    return get("/" + "a" * (length - len("GET / HTTP/1.1")))


def headers_of(length: int) -> bytes:
    host = len("Host: localhost\r\n") + len("\r\n")
    return get("/no/such/path", "X-Padding: " + "a" * (length - host - len("X-Padding: \r\n")))


REQUEST_LINE, HEADERS = request_limits.MAX_REQUEST_LINE_BYTES, request_limits.MAX_HEADERS_BYTES


@pytest.mark.parametrize(
    ("request_", "answered"),
    [
        (line_of(REQUEST_LINE), (404, "not_found")),
        (line_of(REQUEST_LINE + 1), (414, "uri_too_long")),
        (line_of(15_000), (414, "uri_too_long")),
        (line_of(100_000), (414, "uri_too_long")),
        (headers_of(HEADERS), (404, "not_found")),
        (headers_of(HEADERS + 3), (431, "headers_too_large")),
        (headers_of(100_000), (431, "headers_too_large")),
        (get("/health", *(f"X-{n}: {'a' * 100}" for n in range(200))), (431, "headers_too_large")),
        (get("/health", *(f"X-{n}: a" for n in range(600))), (400, "bad_request")),
        (b"nonsense\r\n\r\n", (400, "bad_request")),
        (get("/health", "no colon"), (400, "bad_request")),
        (get("/health", "Content-Length: many"), (400, "bad_request")),
        (get("/health", "X-A: \x1c"), (400, "bad_request")),
        (get("/h\u00e4"), (400, "bad_request")),
    ],
    ids=map(str, range(14)),
)
def test_lines_and_headers(api: Api, server: str, request_: bytes, answered: tuple[int, str]) -> None:
    assert ask(server, request_) == answered


def announced(length: int, *lines: bytes, opening: bytes = LOGIN) -> bytes:
    return opening + b"".join(lines) + b"Content-Length: %d\r\n\r\n" % length


@pytest.mark.parametrize("length", [SMALL + 1, 80_000_000, 10**18])
def test_a_body_is_refused_by_its_announced_length(api: Api, server: str, length: int) -> None:
    """The answer comes before a byte of the body has been sent."""
    assert ask(server, announced(length)) == (413, "payload_too_large")
    assert ask(server, announced(length, b"Expect: 100-continue\r\n")) == (413, "payload_too_large")


CHUNK = b"2000\r\n" + b"1" * 0x2000 + b"\r\n"


@pytest.mark.parametrize(("headers", "chunks"), [(b"", SMALL // 0x2000 + 1), (KEY, MEDIUM // 0x2000 + 1)])
def test_chunks_are_counted_while_they_come(api: Api, server: str, headers: bytes, chunks: int) -> None:
    """The answer comes although the body has not ended."""
    opening = LOGIN + headers + b"Transfer-Encoding: chunked\r\n\r\n"
    assert ask(server, opening, CHUNK * chunks) == (413, "payload_too_large")


def test_a_body_in_tiny_chunks_is_refused(api: Api, server: str) -> None:
    """A chunk costs the event loop as much as a kilobyte of a body in one piece."""
    opening = LOGIN + KEY + b"Transfer-Encoding: chunked\r\n\r\n"
    some, many = (b"1\r\n1\r\n" * count for count in (request_limits.FREE_CHUNKS, request_limits.FREE_CHUNKS + 2_000))
    assert ask(server, opening, some, b"0\r\n\r\n")[0] == 400
    assert ask(server, opening, many) == (400, "bad_request")


def test_a_client_that_sends_on_sees_the_answer(api: Api, server: str) -> None:
    assert ask(server, LOGIN + b"Transfer-Encoding: chunked\r\n\r\n", CHUNK * 200) == (413, "payload_too_large")


@pytest.mark.parametrize(
    ("headers", "length", "status"),
    [
        (b"", SMALL, 400),
        (b"Authorization: Bearer x\r\n", SMALL + 1, 413),
        (b"Authorization: Basic YTpi\r\n", SMALL + 1, 413),
        (b"Authorization: Bearer lnos_live_0123\r\n", SMALL + 1, 413),
        (KEY, MEDIUM, 400),
        (KEY, MEDIUM + 1, 413),
        (b"Authorization: bearer eyJhbGciOiJI.eyJzdWIiOiIx.c2lnbmF0dXJl\r\n", MEDIUM, 400),
        (b"Cookie: sessionid=0123456789abcdef0123456789abcdef\r\n", SMALL + 1, 413),
    ],
)
def test_only_a_well_formed_credential_may_send_more(
    api: Api, server: str, headers: bytes, length: int, status: int
) -> None:
    assert ask(server, announced(length, headers), b"1" * length)[0] == status


@pytest.mark.parametrize(
    ("opening", "status"),
    [
        (b"POST /rag/index", 401),
        (b"POST /rag/index?x=1", 401),
        (b"POST /rag/search", 413),
        (b"POST /agents/execute", 413),
        (b"GET /agents/list", 413),
        (b"POST /no/such/path", 413),
    ],
)
def test_a_view_sets_its_limit(api: Api, server: str, opening: bytes, status: int) -> None:
    """A well-formed unknown key may send a long body, and is refused afterwards."""
    head = opening + b" HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    assert ask(server, announced(MEDIUM + 1, KEY, opening=head), b"1" * (MEDIUM + 1))[0] == status


def test_routes_have_the_default_limit_or_their_own() -> None:
    limits = {
        path: bodies.get_body_limit(path, "POST")[0] for path, view in views(get_resolver()) if hasattr(view, "cls")
    }
    assert {path: limit for path, limit in limits.items() if limit != MEDIUM} == {
        "/rag/index": 64 * 2**20,
        "/billing/webhook": 256 * 2**10,
    }


def test_the_credential_of_a_webhook_is_its_signature(api: Api, server: str) -> None:
    head = b"POST /billing/webhook HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    signed = b"Stripe-Signature: t=1790000000,v1=" + b"a" * 64 + b"\r\n"
    length = SMALL + 1
    assert ask(server, announced(length, KEY, opening=head), b"1" * length) == (413, "payload_too_large")
    assert ask(server, announced(length, signed, opening=head), b"1" * length)[0] != 413


def test_a_page_of_the_admin_takes_a_long_form_with_a_session(api: Api, server: str) -> None:
    head = b"POST /admin/login/ HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\n"
    length = SMALL + 1
    assert ask(server, announced(length, opening=head)) == (413, "payload_too_large")
    session = b"Cookie: theme=dark; sessionid=0123456789abcdef0123456789abcdef\r\n"
    with connected(server) as connection:
        connection.sendall(announced(length, session, opening=head) + b"a=" + b"1" * (length - 2))
        response = HTTPResponse(connection)
        response.begin()
        assert response.status == 403  # without the form's token


def test_refused_requests_count_against_the_address(api: Api, server: str) -> None:
    answers = [ask(server, announced(SMALL + 1)) for _ in range(61)]
    assert answers == [(413, "payload_too_large")] * 60 + [(429, "rate_limited")]


def test_the_connection_ends_with_a_refusal_and_not_else(api: Api, server: str) -> None:
    with connected(server) as connection:
        for _ in range(2):
            connection.sendall(get("/no/such/path"))
            assert answer(connection) == (404, "not_found")
        connection.sendall(announced(SMALL + 1))
        assert answer(connection) == (413, "payload_too_large")
        assert connection.recv(1) == b""


def test_a_client_cannot_choose_the_path_of_the_application(api: Api) -> None:
    headers = {"Daphne-Root-Path": "/prefix"}
    assert error(api.get("/prefix/health", headers=headers)) == (404, "not_found")
    assert api.get("/health", headers=headers).status_code == 200
    page = api.get("/", headers={**headers, "Accept": "text/html"})
    assert page.status_code == 200 and "/prefix" not in page.text


class Server:
    """A stand-in for Daphne's server that records the refusals of the application."""

    def __init__(self) -> None:
        self.refusals: list[LunaError | None] = []
        self.root_path, self.proxy_forwarded_address_header, self.server_name = "", None, ""

    def protocol_connected(self, protocol: Any) -> None: ...

    def create_application(self, protocol: Any, scope: dict[str, Any]) -> None:
        self.refusals.append(bodies.early_error.get())


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch, settings: Any) -> SimpleNamespace:
    """Return a connection whose time the test makes pass."""
    settings.READ_TIMEOUT_S = 10.0
    clock, server, channel = Clock(), Server(), request_limits.BoundedHTTPChannel()
    monkeypatch.setattr(channel, "_now", clock.seconds)
    channel.callLater, channel.factory, channel.requestFactory = (
        clock.callLater,
        SimpleNamespace(server=server),
        request_limits.BoundedRequest,
    )
    channel.makeConnection(cast(Any, StringTransport)())
    return SimpleNamespace(clock=clock, channel=channel, refusals=server.refusals)


@pytest.mark.parametrize("sent", [b"GE", get()[:-2], announced(1_000), LOGIN + b"Transfer-Encoding: chunked\r\n\r\n1"])
def test_a_request_that_does_not_arrive_is_ended(slow: Any, sent: bytes) -> None:
    slow.channel.dataReceived(sent)
    slow.clock.advance(9)
    slow.channel.dataReceived(b"1")
    slow.clock.advance(0.9)
    assert slow.refusals == []
    slow.clock.advance(1)
    assert [type(refusal) for refusal in slow.refusals] == [RequestTimeout]


def test_a_long_body_has_more_time(slow: Any) -> None:
    slow.channel.dataReceived(announced(MEDIUM, KEY))
    for _ in range(20):
        slow.channel.dataReceived(b"1" * request_limits.MIN_BYTES_PER_S)
        slow.clock.advance(1)
    assert slow.refusals == []
    slow.channel.dataReceived(b"1" * (MEDIUM - 20 * request_limits.MIN_BYTES_PER_S))
    assert slow.refusals == [None]
    assert not slow.clock.getDelayedCalls()


def test_a_connection_that_is_kept_is_not_watched(slow: Any) -> None:
    assert not slow.clock.getDelayedCalls()


@pytest.mark.parametrize("kind", [b"multipart/form-data; boundary=x", b"application/x-www-form-urlencoded"])
def test_forms_are_not_parsed_on_the_event_loop(slow: Any, monkeypatch: pytest.MonkeyPatch, kind: bytes) -> None:
    """Twisted's parser takes quadratic time: 2 s for 700 kB, hours for 64 MiB."""
    parsed: list[bytes] = []

    def parse(content: bytes, *_: object) -> dict[bytes, list[bytes]]:
        parsed.append(content)
        return {}

    monkeypatch.setattr(http, "_getMultiPartArgs", parse)
    monkeypatch.setattr(http, "parse_qs", parse)
    opening = b"POST /auth/login HTTP/1.1\r\nHost: localhost\r\nContent-Type: " + kind
    slow.channel.dataReceived(opening + b"\r\nContent-Length: 3\r\n\r\na=b")
    assert slow.refusals == [None]
    assert parsed == []


# -- The end of the process --------------------------------------------------------------------------------------------


def test_daphne_needs_its_kill_replaced() -> None:
    """Daphne forgets the application of a socket that the client keeps open."""

    async def end(kill: Any) -> bool:
        waiting = asyncio.ensure_future(asyncio.Event().wait())
        daphne = server.Server(application=None, endpoints=["tcp:0"])
        daphne.connections = {
            "closing": {"connected": 0.0},
            "open": {"connected": 0.0, "application_instance": waiting},
        }
        await kill(daphne).asFuture(asyncio.get_running_loop())
        return waiting.cancelled()

    request_limits.install()
    assert asyncio.run(end(server.Server.kill_all_applications))
    with pytest.raises(KeyError):  # where this does not fail any more, Daphne needs no help
        asyncio.run(end(request_limits.DAPHNE_KILL_ALL_APPLICATIONS))


def test_daphne_forgets_the_application_of_an_open_connection() -> None:
    """Why connections without an application are there."""

    async def check() -> dict[str, Any]:
        done = asyncio.get_running_loop().create_future()
        done.set_result(None)
        daphne = server.Server(application=None, endpoints=["tcp:0"])
        daphne.connections = {"closing": {"connected": 0.0, "application_instance": done}}
        daphne.application_checker()
        return dict(daphne.connections)

    assert asyncio.run(check()) == {"closing": {"connected": 0.0}}
