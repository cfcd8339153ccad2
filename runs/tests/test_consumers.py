"""ws/runs/{id}: the same events over a WebSocket, with the same access checks."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from testing.client import Api, Event, error, events
from testing.loopback.upstream import DONE, Answer, Upstream, delta

MISSING = "00000000-0000-4000-8000-000000000000"


@contextmanager
def socket(api: Api, path: str, user: Any = None, **options: Any) -> Iterator[ClientConnection]:
    url = f"{api.base_url}".replace("http", "ws", 1).rstrip("/") + path
    headers = api.as_(user) if user else {}
    with connect(url, additional_headers=headers, open_timeout=10, proxy=None, **options) as connection:
        yield connection


def read(connection: ClientConnection) -> tuple[list[Event], int]:
    """Return all messages but pings, and the close code."""
    messages = []
    try:
        while True:
            message = json.loads(connection.recv(timeout=20))
            if message["type"] != "ping":
                messages.append(message)
    except ConnectionClosed as closed:
        return messages, closed.rcvd.code if closed.rcvd else 0


def numbered(found: list[Event]) -> list[Event]:
    return [{"id": position, **event} for position, event in enumerate(found, 1)]


def test_it_works(api: Api, alice: Any, upstream: Upstream) -> None:
    response = api.execute(alice)
    with socket(api, f"/ws/runs/{response.headers['X-Run-Id']}", alice) as connection:
        messages, code = read(connection)
    assert messages == numbered(events(response))
    assert code == 1000


def test_from_a_position_on(api: Api, alice: Any, upstream: Upstream) -> None:
    run_id = api.execute(alice).headers["X-Run-Id"]
    with socket(api, f"/ws/runs/{run_id}?after=3", alice) as connection:
        messages, code = read(connection)
    assert ([message["id"] for message in messages], code) == ([4], 1000)


def test_a_browser_sends_its_token_as_a_subprotocol(api: Api, alice: Any, upstream: Upstream) -> None:
    run_id = api.execute(alice).headers["X-Run-Id"]
    token = api.as_(alice)["Authorization"].removeprefix("Bearer ")
    with socket(api, f"/ws/runs/{run_id}", subprotocols=["bearer", token]) as connection:
        assert connection.subprotocol == "bearer"  # the token is not sent back
        assert read(connection)[0][-1]["type"] == "done"


def test_a_run_under_way_is_followed(api: Api, alice: Any, upstream: Upstream) -> None:
    upstream.respond_with(Answer(pieces=[delta("one "), "wait", delta("two", "stop"), DONE]))
    body = {"agent": "code-review", "context": "x"}
    with api.stream("POST", "/agents/execute", json=body, headers=api.as_(alice)) as response:
        next(text for text in response.iter_text() if "one" in text)
    with socket(api, f"/ws/runs/{response.headers['X-Run-Id']}", alice) as connection:
        assert [json.loads(connection.recv(timeout=10))["type"] for _ in range(3)] == ["start", "chunk", "ping"]
        upstream.resume.set()
        messages, code = read(connection)
    assert ([message["id"] for message in messages], code) == ([3, 4], 1000)


def test_leaving_ends_nothing(api: Api, alice: Any, upstream: Upstream) -> None:
    upstream.respond_with(Answer(pieces=[delta("one "), "wait", delta("two", "stop"), DONE]))
    body = {"agent": "code-review", "context": "x"}
    with api.stream("POST", "/agents/execute", json=body, headers=api.as_(alice)) as response:
        next(text for text in response.iter_text() if "one" in text)
    run_id = response.headers["X-Run-Id"]
    with socket(api, f"/ws/runs/{run_id}", alice) as connection:
        connection.recv(timeout=10)
    upstream.resume.set()
    assert api.get(f"/runs/{run_id}/events", headers=api.as_(alice)).text.count('"type":"done"') == 1


def refusal(api: Api, path: str, user: Any = None, **options: Any) -> tuple[str, int]:
    with socket(api, path, user, **options) as connection:
        (message,), code = read(connection)
    assert message["type"] == "error" and message["error"]
    return message["code"], code


def test_refused_sockets(api: Api, alice: Any, charlie: Any, upstream: Upstream) -> None:
    path = f"/ws/runs/{api.execute(alice).headers['X-Run-Id']}"
    assert refusal(api, path) == ("not_authenticated", 4401)
    assert refusal(api, path, subprotocols=["bearer", "nonsense"]) == ("token_invalid", 4401)
    assert refusal(api, path, subprotocols=["bearer"]) == ("token_invalid", 4401)
    assert refusal(api, path, charlie) == ("not_found", 4404)
    assert refusal(api, f"/ws/runs/{MISSING}", alice) == ("not_found", 4404)


@pytest.mark.parametrize("after", ["x", "-1", "1-0", "9" * 17, "٣"])
def test_a_bad_position(api: Api, alice: Any, upstream: Upstream, after: str) -> None:
    run_id = api.execute(alice).headers["X-Run-Id"]
    assert refusal(api, f"/ws/runs/{run_id}?after={after}", alice) == ("validation_error", 4400)


def test_it_counts_as_a_request(api: Api, alice: Any, upstream: Upstream) -> None:
    response = api.execute(alice)
    with socket(api, f"/ws/runs/{response.headers['X-Run-Id']}", alice) as connection:
        read(connection)
    left = int(api.get("/auth/me", headers=api.as_(alice)).headers["X-RateLimit-Remaining"])
    assert left == int(response.headers["X-RateLimit-Remaining"]) - 2


def test_other_paths_are_refused_in_the_handshake(api: Api, alice: Any, database: None) -> None:
    for path in ("/ws/runs/nonsense", "/ws/other", "/runs"):
        with pytest.raises(InvalidStatus) as refused, socket(api, path, alice):
            pass
        response = refused.value.response
        assert response.status_code == 403
        assert json.loads(response.body)["code"] == "forbidden"
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert "X-Request-Id" in response.headers


@pytest.mark.parametrize(
    ("request_line", "version", "status", "code"),
    [
        ("GET", "7", 400, "bad_request"),
        ("POST", "13", 405, "method_not_allowed"),
    ],
)
def test_a_bad_handshake_is_answered_like_a_request(
    api: Api, database: None, request_line: str, version: str, status: int, code: str
) -> None:
    headers = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": version}
    headers["Sec-WebSocket-Key"] = "dGhlIHNhbXBsZSBub25jZQ=="
    responses = [api.request(request_line, f"/ws/runs/{MISSING}", headers=headers) for _ in range(2)]
    assert error(responses[0]) == (status, code)
    assert responses[0].headers["Content-Type"] == "application/json"
    before, after = (int(response.headers["X-RateLimit-Remaining"]) for response in responses)
    assert after == before - 1
    assert ("allow" in responses[0].headers) == (status == 405)
    assert ("sec-websocket-version" in responses[0].headers) == (status == 400)


def test_a_few_messages_of_a_client_are_ignored(api: Api, alice: Any, upstream: Upstream) -> None:
    run_id = api.execute(alice).headers["X-Run-Id"]
    with socket(api, f"/ws/runs/{run_id}", alice) as connection:
        connection.send("hello")
        connection.send(b"hello")
        assert read(connection)[1] == 1000
