"""A client that does not read slows its own stream, and is dropped after a time."""

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from websockets.sync.client import connect

from lunaos.embedded.servers import until
from runs.models import Run, Status
from testing.client import Api
from testing.loopback.upstream import DONE, Answer, Upstream, delta
from testing.servers import daphne

BIG = 48 * 65_536  # more than the socket buffers of both sides, less than a run's log
PIECES = [delta("x" * 65_536)] * (BIG // 65_536)


@pytest.fixture(scope="module")
def strict_server(
    django_db_setup: None, django_db_blocker: Any, folder: Path, provider_environment: dict[str, str]
) -> Iterator[str]:
    """Start a web process that drops stalled clients soon."""
    changes = {"LUNAOS_STREAM_STALL_S": "0.5", "LUNAOS_STREAM_HEARTBEAT_S": "0.3", **provider_environment}
    with django_db_blocker.unblock(), daphne(folder / "strict.log", "/ready", **changes) as url:
        yield url


@pytest.fixture
def strict(database: None, strict_server: str) -> Iterator[Api]:
    with Api(base_url=strict_server, timeout=30) as client:
        yield client


def deaf_client(api: Api) -> socket.socket:
    """Return a connection with a small receive buffer."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.settimeout(20)
    client.connect((api.base_url.host, api.base_url.port or 80))
    return client


def request(api: Api, user: Any, method: str, path: str, body: dict[str, Any] | None = None) -> bytes:
    content = orjson.dumps(body) if body else b""
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", f"Authorization: {api.as_(user)['Authorization']}"]
    lines += ["Content-Type: application/json", f"Content-Length: {len(content)}", "", ""]
    return "\r\n".join(lines).encode() + content


def read_all(client: socket.socket) -> bytes:
    """Read until the connection ends, in whichever way."""
    found = b""
    try:
        while piece := client.recv(1 << 16):
            found += piece
    except ConnectionResetError:
        pass
    return found


def count_dropped(folder: Path) -> int:
    """Return the number of dropped clients in the server's log."""
    return (folder / "strict.log").read_text().count("A client read nothing")


def test_the_run_of_a_dropped_reader_goes_on(strict: Api, alice: Any, upstream: Upstream, folder: Path) -> None:
    """The run goes on also with `onDisconnect: cancel`."""
    upstream.respond_with(Answer(pieces=[*PIECES, "wait", delta("end", "stop"), DONE]))
    body, before = {"agent": "code-review", "context": "x", "onDisconnect": "cancel"}, count_dropped(folder)
    with deaf_client(strict) as client:
        client.sendall(request(strict, alice, "POST", "/agents/execute", body))
        assert until(lambda: count_dropped(folder) > before, 20)
        assert b'"type":"done"' not in read_all(client)
    upstream.resume.set()
    assert until(lambda: Run.objects.filter(user=alice, status=Status.SUCCEEDED).exists(), 20)


def test_a_socket_that_does_not_read_is_dropped(strict: Api, alice: Any, upstream: Upstream, folder: Path) -> None:
    upstream.respond_with(Answer(pieces=[*PIECES, delta("end", "stop"), DONE]))
    run_id = strict.execute(alice).headers["X-Run-Id"]
    before = count_dropped(folder)
    raw = deaf_client(strict)
    url = str(strict.base_url).replace("http", "ws", 1).rstrip("/") + f"/ws/runs/{run_id}"
    with connect(url, sock=raw, additional_headers=strict.as_(alice), proxy=None, max_queue=1, close_timeout=0.1):
        assert until(lambda: count_dropped(folder) > before, 20)


def test_a_slow_reader_gets_all_of_it(strict: Api, alice: Any, upstream: Upstream) -> None:
    upstream.respond_with(Answer(pieces=[*PIECES, delta("end", "stop"), DONE]))
    run_id = strict.execute(alice).headers["X-Run-Id"]
    with deaf_client(strict) as client:
        client.sendall(request(strict, alice, "GET", f"/runs/{run_id}/events"))
        found = b""
        while not found.endswith(b"0\r\n\r\n"):
            found += client.recv(1 << 16)
    assert b'"type":"done"' in found and found.count(b"x" * 1000) >= BIG // 65_536
