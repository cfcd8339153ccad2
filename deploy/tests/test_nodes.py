"""Two web processes and two workers of each kind behave as one behind the deployed proxy."""

import signal
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from lunaos.embedded.servers import until
from testing.client import Api, error, parse
from testing.loopback.upstream import DONE, Answer, Upstream, completion, delta
from testing.reader import ReconnectingReader, start_run
from testing.stack import CommandStack, Stack, stack_fixtures

AGENT = {"agent": "code-review", "context": "x = 1"}
CHAIN = {"steps": [{"agent": "code-review"}, {"agent": "documentation"}], "context": "x = 1"}
NODES = ("web", "web-2")


stack_process, stack, alice = stack_fixtures(
    *("web-2", "worker-2", "chains-1", "chains-2", "proxy"),
    kind=CommandStack,
    changes={"LUNAOS_TRUSTED_PROXIES": "1", "LUNAOS_STOP_GRACE_S": "20"},
)


def answered(api: Api, run_id: str, user: dict[str, str]) -> str:
    return str(api.get(f"/runs/{run_id}", headers=user).json()["data"]["status"])


def on_both(stack: Stack, times: int, ask: Callable[[Api], httpx.Response]) -> list[httpx.Response]:
    """Ask both web processes so many times each, side by side."""
    with ThreadPoolExecutor(16) as pool:
        return list(pool.map(ask, [stack.api_of(node) for node in NODES] * times))


def test_it_works(stack: Stack, alice: dict[str, str]) -> None:
    """Each node serves runs of the other, and the proxy uses both."""
    response = stack.api_of("web").post("/agents/execute", json=AGENT, headers=alice)
    run_id = response.headers["X-Run-Id"]
    assert answered(stack.api_of("web-2"), run_id, alice) == "succeeded"
    assert parse(stack.api_of("web-2").get(f"/runs/{run_id}/events", headers=alice).text) == parse(response.text)
    response = stack.api_of("proxy").post("/chains/execute", json=CHAIN, headers=alice)
    assert parse(response.text)[1][-1]["type"] == "chain_done"


def test_a_stream_goes_on_at_the_other_node_when_its_own_is_killed(
    stack: Stack, alice: dict[str, str], upstream: Upstream
) -> None:
    waiting = Answer(pieces=[delta("half "), "wait", delta("done", "stop"), DONE])
    upstream.respond_with(completion("found"), waiting)
    run_id = start_run(stack.api_of("web"), alice, "/chains/execute", CHAIN, "half")
    reader = ReconnectingReader(stack.api_of("proxy"), alice, run_id)
    assert until(lambda: len(reader.events) == 6, 10)
    stack.end("web")
    upstream.resume.set()
    events = reader.end()
    stack.start("web")
    assert [event["content"] for event in events if event["type"] == "chunk"] == ["found", "half ", "done"]
    assert events[-1]["type"] == "chain_done"


def test_an_agents_run_whose_node_is_killed_ends_at_the_other(
    stack: Stack, alice: dict[str, str], upstream: Upstream
) -> None:
    """The text is kept and the run fails: no other process can continue a request to a model."""
    upstream.respond_with(Answer(pieces=[delta("half "), "wait"]), completion("again"))
    run_id = start_run(stack.api_of("web"), alice, "/agents/execute", AGENT, "half")
    reader = ReconnectingReader(stack.api_of("proxy"), alice, run_id)
    assert until(lambda: len(reader.events) == 2, 10)
    stack.end("web")
    stack.sql("UPDATE runs_run SET heartbeat_at = now() - interval '61 seconds' WHERE id = %s", run_id)
    events = reader.end()
    stack.start("web")
    assert [event["type"] for event in events] == ["start", "chunk", "error"]
    assert (events[-1]["code"], answered(stack.api_of("web-2"), run_id, alice)) == ("interrupted", "interrupted")


def test_a_reader_may_change_nodes_while_the_run_goes_on(
    stack: Stack, alice: dict[str, str], upstream: Upstream
) -> None:
    upstream.respond_with(Answer(pieces=[delta("one "), "wait", delta("two", "stop"), DONE]))
    run_id = start_run(stack.api_of("web"), alice, "/agents/execute", AGENT, "one")
    reader = ReconnectingReader(stack.api_of("web-2"), alice, run_id)
    assert until(lambda: len(reader.events) == 2, 10)
    upstream.resume.set()
    assert [event["type"] for event in reader.end()] == ["start", "chunk", "chunk", "done"]


def test_a_run_is_cancelled_from_the_other_node(stack: Stack, alice: dict[str, str], upstream: Upstream) -> None:
    upstream.respond_with(Answer(pieces=[delta("one "), "hang"]))
    run_id = start_run(stack.api_of("web"), alice, "/agents/execute", AGENT, "one")
    assert stack.api_of("web-2").post(f"/runs/{run_id}/cancel", headers=alice).status_code == 200
    assert upstream.client_gone.wait(5)
    assert until(lambda: answered(stack.api_of("web-2"), run_id, alice) == "cancelled", 5)


def test_one_rate_limit_for_both(stack: Stack, alice: dict[str, str]) -> None:
    """60 requests a minute for both nodes together."""
    responses = on_both(stack, 80, lambda api: api.get("/auth/me", headers=alice))
    passed = [response for response in responses if response.status_code == 200]
    remaining = [(each.headers["X-RateLimit-Reset"], each.headers["X-RateLimit-Remaining"]) for each in passed]
    assert len(set(remaining)) == len(remaining)
    windows = {response.headers["X-RateLimit-Reset"] for response in responses}
    assert 60 <= len(passed) <= 60 * len(windows)
    assert {error(each) for each in responses if each.status_code != 200} == {(429, "rate_limited")}


def test_one_quota_for_both(stack: Stack, alice: dict[str, str]) -> None:
    """100 a month, of which ten are left."""
    stack.api.post("/agents/execute", json=AGENT, headers=alice)
    stack.sql(
        "UPDATE billing_monthlyusage SET executions = 90 WHERE user_id = (SELECT user_id FROM runs_run "
        "ORDER BY created_at DESC LIMIT 1)"
    )
    responses = on_both(stack, 10, lambda api: api.post("/agents/execute", json=AGENT, headers=alice))
    assert [response.status_code for response in responses].count(200) == 10
    assert {error(each) for each in responses if each.status_code != 200} == {(403, "quota_exceeded")}


def test_one_run_for_one_idempotency_key_at_both(stack: Stack, alice: dict[str, str], upstream: Upstream) -> None:
    headers = {**alice, "Idempotency-Key": "once"}
    responses = on_both(stack, 5, lambda api: api.post("/agents/execute", json=AGENT, headers=headers))
    assert len({response.headers["X-Run-Id"] for response in responses}) == 1
    assert len(upstream.requests) == 1
    assert sum("Idempotency-Replayed" not in response.headers for response in responses) == 1


class Load:
    """Users who send requests through the proxy one after the other, until `stop` is set."""

    def __init__(self, stack: Stack, users: list[dict[str, str]]) -> None:
        self.responses: list[httpx.Response] = []
        self._stop, self._stack = threading.Event(), stack
        works = [("/agents/execute", AGENT), ("/agents/execute", AGENT), ("/chains/execute", CHAIN), ("/auth/me", None)]
        self._threads = [
            threading.Thread(target=self._work, args=(user, *work), daemon=True)
            for user, work in zip(users, works, strict=True)
        ]

    def _work(self, user: dict[str, str], path: str, body: dict[str, Any] | None) -> None:
        with self._stack.api_of("proxy") as api:
            while not self._stop.is_set():  # a connection that breaks ends the thread, and pytest tells
                self.responses.append(api.request("POST" if body else "GET", path, json=body, headers=user))

    def goes_on(self) -> None:
        """Wait for a few more answers."""
        enough = len(self.responses) + 10
        assert until(lambda: len(self.responses) > enough, 30)

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(40)
            assert not thread.is_alive()


def test_a_rolling_restart_under_load_loses_nothing(stack: Stack, upstream: Upstream) -> None:
    """Nodes are replaced one after the other; each run succeeds, and each refusal has Retry-After."""
    upstream.script = lambda request: Answer(pieces=[delta("one "), 0.2, delta("two", "stop"), DONE])
    users = [stack.sign_up() for _ in range(4)]
    stack.sql("UPDATE accounts_user SET tier = 'team'")
    with Load(stack, users) as load:
        for node in (("web", "chains-1", "worker"), ("web-2", "chains-2", "worker-2")):
            load.goes_on()
            for name in node:
                stack.end(name, signal.SIGTERM)
            load.goes_on()
            stack.start(*node)
        load.goes_on()
    refused = [response for response in load.responses if response.status_code != 200]
    odd = [each.text for each in refused if each.status_code != 503 or not each.headers["Retry-After"]]
    assert odd == [], stack.log("proxy")
    streams = [each for each in load.responses if "X-Run-Id" in each.headers and each.status_code == 200]
    assert {parse(stream.text)[1][-1]["type"] for stream in streams} == {"done", "chain_done"}
    run_ids = [stream.headers["X-Run-Id"] for stream in streams]
    assert stack.sql("SELECT DISTINCT status FROM runs_run WHERE id = ANY(%s::uuid[])", run_ids) == [("succeeded",)]


@pytest.mark.parametrize("length", [65_537, 1_048_577])
@pytest.mark.parametrize("in_chunks", [False, True])
def test_the_proxy_passes_a_refusal_of_a_long_body_on(stack: Stack, length: int, in_chunks: bool) -> None:
    """In the contract's words, whichever of both counts first."""
    body: Any = iter([b"1" * length]) if in_chunks else b"1" * length
    response = stack.api_of("proxy").post("/auth/login", content=body, headers={"Content-Type": "application/json"})
    assert error(response) == (413, "payload_too_large")
    assert response.headers["X-Content-Type-Options"] == "nosniff"


def test_the_proxy_takes_more_where_files_are_indexed(stack: Stack, alice: dict[str, str]) -> None:
    body = {"files": [{"path": "a.py", "content": "x" * 500_001}] * 3}
    response = stack.api_of("proxy").post("/rag/index", json=body, headers=alice)
    assert error(response) == (400, "validation_error")
