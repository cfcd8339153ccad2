"""Bytes of a stream's opening while the provider is silent."""

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import Message
from email.parser import BytesParser
from typing import Any

import pytest

from testing.client import Api, parse
from testing.loopback.upstream import Answer, Upstream, delta

BODIES: dict[str, dict[str, Any]] = {
    "/agents/execute": {"agent": "code-review", "context": "x"},
    "/chains/execute": {"steps": [{"agent": "code-review"}], "context": "x"},
}
OF_EVERY_RESPONSE = {
    *("x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset", "x-request-id", "server-timing"),
    *("strict-transport-security", "content-security-policy", "x-content-type-options"),
}
OF_EVERY_STREAM = {
    "Content-Type": "text/event-stream",
    "Cache-Control": "no-cache, no-transform",
    "X-Accel-Buffering": "no",
}
OF_EXECUTIONS = {"x-usage-used", "x-usage-limit", "x-usage-remaining"}
MAX_SILENCE_S = 15  # in which a server that waits for its provider would have said nothing


@contextmanager
def head_of(
    api: Api, request: str, user: Any, body: dict[str, Any] | None = None, after: int = 0
) -> Iterator[tuple[bytes, Message]]:
    """Send a request and read to the end of the headers; the connection stays open within the block.

    Yields:
        The status line, and the headers.
    """
    content = json.dumps(body).encode() if body else b""
    headers = {
        **{"Host": "localhost", "Content-Type": "application/json", "Content-Length": str(len(content))},
        **{"Last-Event-ID": str(after), **api.as_(user)},
    }
    lines = [f"{request} HTTP/1.1", *map(": ".join, headers.items()), "", ""]
    with socket.create_connection((api.base_url.host, api.base_url.port), MAX_SILENCE_S) as connection:
        connection.sendall("\r\n".join(lines).encode() + content)
        received = b""
        while b"\r\n\r\n" not in received:
            data = connection.recv(2**16)
            assert data, received
            received += data
        status, _, rest = received.partition(b"\r\n")
        yield status, BytesParser().parsebytes(rest, headersonly=True)


def holds_all(headers: Message, *further: str) -> None:
    assert {name.lower() for name in headers} >= OF_EVERY_RESPONSE.union(further)
    assert {name: headers[name] for name in OF_EVERY_STREAM} == OF_EVERY_STREAM


def cancelled(api: Api, user: Any, run_id: str) -> bool:
    """Cancel a run and read its events to the end, after which the server writes nothing more about the run."""
    api.post(f"/runs/{run_id}/cancel", headers=api.as_(user))
    response = api.get(f"/runs/{run_id}/events", headers=api.as_(user))
    return parse(response.text)[1][-1] == {"type": "cancelled"}


@pytest.mark.parametrize("path", BODIES)
def test_all_headers_come_before_the_provider_answers(api: Api, alice: Any, upstream: Upstream, path: str) -> None:
    """A chain needs no worker for this either."""
    upstream.respond_with(Answer(pieces=["hang"]))
    with head_of(api, f"POST {path}", alice, BODIES[path]) as (status, headers):
        assert status == b"HTTP/1.1 200 OK"
        holds_all(headers, *OF_EXECUTIONS)
        assert cancelled(api, alice, headers["X-Run-Id"])


def test_all_headers_come_with_nothing_new_to_read(api: Api, alice: Any, upstream: Upstream) -> None:
    upstream.respond_with(Answer(pieces=[delta("one"), "hang"]))
    with api.stream("POST", "/agents/execute", json=BODIES["/agents/execute"], headers=api.as_(alice)) as response:
        next(text for text in response.iter_text() if "one" in text)
    run_id = response.headers["X-Run-Id"]
    with head_of(api, f"GET /runs/{run_id}/events", alice, after=2) as (status, headers):
        assert (status, headers["X-Run-Id"]) == (b"HTTP/1.1 200 OK", run_id)
        holds_all(headers)
    assert cancelled(api, alice, run_id)
