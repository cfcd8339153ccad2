"""Clients in wide use read our streams, heartbeats and reconnects included."""

import json
import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from httpx_sse import connect_sse

from testing import node
from testing.client import NO_TRUSTED_AUTHORITIES, Api, Event, parse
from testing.loopback.tap import recording_proxy
from testing.loopback.upstream import DONE, Answer, Upstream, delta

pytestmark = pytest.mark.clients

Received = list[tuple[int, Event]]
CLIENTS = Path(__file__).parent / "clients"
BODY = {"agent": "code-review", "context": "x"}
BEAT = re.compile(rb": keep-alive\n")
BEAT_BEHIND_AN_EVENT = re.compile(rb"\nid: .*: keep-alive\n", re.DOTALL)
BEATS_AROUND_AN_EVENT = re.compile(rb": keep-alive\n.*\nid: .*: keep-alive\n", re.DOTALL)


class Heartbeats:
    """Breaks a client's first connection at a heartbeat; on the second, the run goes on after heartbeats only.

    The first connection breaks after a heartbeat that follows an event. The second one begins with a heartbeat; the
    provider sends a piece, and the last one after a heartbeat that follows the event of that piece.
    """

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream
        upstream.respond_with(
            Answer(pieces=[delta("one "), "pause", delta("two "), "pause", delta("three", "stop"), DONE])
        )
        self._awaited = [BEAT, BEATS_AROUND_AN_EVENT]
        self.connections = 0

    def __call__(self, connection: int, received: bytes) -> bool:
        self.connections = connection
        if connection == 1:
            return bool(BEAT_BEHIND_AN_EVENT.search(received))
        if self._awaited and self._awaited[0].search(received):
            self._awaited.pop(0)
            self._upstream.resume.set()
        return False


def with_httpx_sse(url: str, authorization: str) -> Received:
    found: Received = []

    def read(client: httpx.Client, method: str, path: str, **options: Any) -> str:
        with connect_sse(client, method, path, **options) as source, suppress(httpx.RemoteProtocolError):
            for event in source.iter_sse():
                found.append((int(event.id), event.json()))
        return source.response.headers["X-Run-Id"]

    headers = {"Authorization": authorization}
    with httpx.Client(base_url=url, headers=headers, verify=NO_TRUSTED_AUTHORITIES, timeout=20) as client:
        run_id = read(client, "POST", "/agents/execute", json=BODY)
        read(client, "GET", f"/runs/{run_id}/events", headers={"Last-Event-ID": str(found[-1][0])})
    return found


def with_openai(url: str, authorization: str) -> Received:
    """Read with the client's own streams, which keep the events' ids to themselves."""
    found: Received = []

    def read(stream: openai.Stream[Any]) -> str:
        with suppress(openai.APIConnectionError):
            for event in stream:
                found.append((len(found) + 1, event))
        return stream.response.headers["X-Run-Id"]

    as_events: dict[str, Any] = {"stream": True, "stream_cls": openai.Stream[object]}
    key = authorization.removeprefix("Bearer ")
    with openai.OpenAI(base_url=url, api_key=key, max_retries=0, timeout=20) as client:
        run_id = read(client.post("/agents/execute", cast_to=object, body=BODY, **as_events))
        after: Any = {"headers": {"Last-Event-ID": str(len(found))}}
        read(client.get(f"/runs/{run_id}/events", cast_to=object, options=after, **as_events))
    return found


def reads_every_event_once(api: Api, user: Any, upstream: Upstream, client: Callable[[str, str], Received]) -> None:
    heartbeats = Heartbeats(upstream)
    try:
        with recording_proxy(str(api.base_url), heartbeats) as url:
            received = client(url, api.as_(user)["Authorization"])
    finally:
        run = f"/runs/{api.get('/runs', headers=api.as_(user)).json()['data']['runs'][0]['id']}"
        api.post(f"{run}/cancel", headers=api.as_(user))  # else the run of a client that failed goes on
    whole = parse(api.get(f"{run}/events", headers=api.as_(user)).text)
    assert received == list(zip(*whole, strict=True))
    assert "".join(event.get("content", "") for event in whole[1]) == "one two three"
    assert heartbeats.connections == 2


@pytest.fixture(scope="session")
def packages() -> Path:
    return node.install(CLIENTS / "package.json")


@pytest.mark.parametrize("client", [with_httpx_sse, with_openai])
def test_python(api: Api, alice: Any, upstream: Upstream, client: Callable[[str, str], Received]) -> None:
    reads_every_event_once(api, alice, upstream, client)


@pytest.mark.parametrize("client", ["fetch-event-source", "eventsource-parser", "admin-trial"])
def test_javascript(api: Api, alice: Any, upstream: Upstream, packages: Path, client: str) -> None:
    def read(url: str, authorization: str) -> Received:
        printed = node.run(CLIENTS / f"{client}.cjs", url, authorization, packages=packages)
        return [(position, event) for position, event in json.loads(printed)]

    reads_every_event_once(api, alice, upstream, read)


def test_the_versions_of_packages_are_exact() -> None:
    wanted = json.loads((CLIENTS / "package.json").read_text())["dependencies"]
    assert all(re.fullmatch(r"\d+\.\d+\.\d+", version) for version in wanted.values()), wanted
