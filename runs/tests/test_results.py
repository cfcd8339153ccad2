"""`stream: false`: one JSON object when a run has ended."""

import asyncio
import json
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from accounts.signin import sessions
from lunaos.embedded.servers import until
from lunaos.errors import MAX_ERROR_BYTES
from runs import responses
from runs.errors import RunCancelled
from runs.models import Run
from runs.results import ResultBuilder
from testing.client import Api, error
from testing.loopback.upstream import Answer, Upstream, completion, delta

BODY = {"agent": "code-review", "context": "def add(a, b): return a - b", "stream": False}


def execute(api: Api, user: Any, /, *, key: str | None = None, **changes: Any) -> httpx.Response:
    headers = api.as_(user) | ({"Idempotency-Key": key} if key else {})
    return api.post("/agents/execute", json={**BODY, **changes}, headers=headers)


def test_it_works(api: Api, alice: Any, upstream: Upstream) -> None:
    response = execute(api, alice)
    assert (response.status_code, response.headers["Content-Type"]) == (200, "application/json")
    data = response.json()["data"]
    assert data.keys() == {"runId", "output", "tokens", "cost", "durationMs", "finishReason"}
    assert (data["output"], data["finishReason"]) == ("Hello world", "stop")
    assert data["runId"] == response.headers["X-Run-Id"]
    assert response.headers["X-Usage-Used"] == "1"
    run = api.get(f"/runs/{data['runId']}", headers=api.as_(alice)).json()["data"]
    assert run["tokens"] == data["tokens"] and run["output"] == data["output"]


def test_the_same_key_is_the_same_run(api: Api, alice: Any, upstream: Upstream) -> None:
    first = execute(api, alice, key="one")
    streamed = execute(api, alice, key="one", stream=True)
    again = execute(api, alice, key="one")
    assert first.json() == again.json()
    assert streamed.headers["Content-Type"] == "text/event-stream"
    assert len({response.headers["X-Run-Id"] for response in (first, streamed, again)}) == 1
    assert Run.objects.filter(user=alice).count() == len(upstream.requests) == 1


def test_a_chain(api: Api, alice: Any, upstream: Upstream, chains_worker: Any) -> None:
    body = {"steps": ["code-review", {"agent": "documentation"}], "context": "x", "stream": False}
    response = api.post("/chains/execute", json=body, headers=api.as_(alice))
    data = response.json()["data"]
    assert [(step["step"], step["agent"], step["output"]) for step in data["steps"]] == [
        (1, "code-review", "Hello world"),
        (2, "documentation", "Hello world"),
    ]
    assert data["output"] == "Hello world" and data["finishReason"] is None


def test_many_waits_at_once(api: Api, carol: Any, upstream: Upstream) -> None:
    """More runs than the process has threads: a wait holds none of them."""
    upstream.script = lambda asked: Answer(pieces=[delta("Hel"), "wait", delta("lo", "stop")])
    with ThreadPoolExecutor(40) as pool:
        waiting = [pool.submit(execute, api, carol) for _ in range(40)]
        assert until(lambda: len(upstream.requests) == 40, 20)
        upstream.resume.set()
        found = [each.result() for each in waiting]
    assert [response.status_code for response in found] == [200] * 40
    assert {response.json()["data"]["output"] for response in found} == {"Hello"}


def test_a_failure_keeps_its_status(api: Api, alice: Any, upstream: Upstream) -> None:
    upstream.script = lambda asked: Answer(status=400, body=b'{"error": {"message": "no"}}')
    response = execute(api, alice)
    assert error(response) == (502, "provider_error")
    assert response.json()["output"] == ""
    assert response.json()["runId"] == response.headers["X-Run-Id"]


def test_a_failure_keeps_its_text(api: Api, alice: Any, upstream: Upstream) -> None:
    upstream.script = lambda asked: Answer(pieces=[delta("Hel"), "cut"])
    first, again = (execute(api, alice, key="one") for _ in range(2))
    assert error(first) == error(again) and first.status_code == 502
    assert first.json()["output"] == again.json()["output"] == "Hel"
    assert first.json()["runId"] == again.json()["runId"]


def test_a_chain_that_fails(api: Api, alice: Any, upstream: Upstream, chains_worker: Any) -> None:
    upstream.respond_with(completion("one"), Answer(pieces=[delta("two"), "cut"]))
    body = {"steps": ["code-review", "documentation"], "context": "x", "stream": False}
    response = api.post("/chains/execute", json=body, headers=api.as_(alice))
    assert response.status_code == 502 and response.json()["output"] == "two"
    (ended,) = response.json()["steps"]
    assert (ended["step"], ended["agent"], ended["output"]) == (1, "code-review", "one")


def test_texts_of_a_failure_are_shortened_and_leave_the_run_its_id() -> None:
    """The worst text: each character takes six bytes of JSON."""
    result = ResultBuilder("r")
    for step in (1, 2, 3):
        result.add({"type": "step_start", "step": step, "agent": "a"})
        result.add({"type": "chunk", "content": "\x01" * 100_000})
        result.add({"type": "step_done", "step": step, "agent": "a", "duration": "1.4s"})
    with pytest.raises(RunCancelled) as caught:
        result.build({"type": "cancelled"})
    body = caught.value.body
    assert body["runId"] == "r" and body["output"] and [step["durationMs"] for step in body["steps"]] == [1400] * 3
    assert len(json.dumps(body)) < MAX_ERROR_BYTES - 1_000


def test_times_are_exact(api: Api, alice: Any, upstream: Upstream) -> None:
    upstream.respond_with(completion("x"))
    answer = execute(api, alice).json()["data"]
    run = api.get(f"/runs/{answer['runId']}", headers=api.as_(alice)).json()["data"]
    assert abs(answer["durationMs"] - run["durationMs"]) <= 1


def test_a_credential_that_ends(api: Api, alice: Any, upstream: Upstream) -> None:
    """The wait ends with it; the run goes on."""
    upstream.script = lambda asked: Answer(pieces=[delta("Hel"), "wait", delta("lo", "stop")])
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(execute, api, alice)
        assert until(lambda: bool(upstream.requests), 10)
        sessions.end_all(alice)
        assert error(waiting.result()) == (401, "token_invalid")
    upstream.resume.set()
    assert until(lambda: Run.objects.get(user=alice).status == "succeeded", 10)


def test_a_cancelled_run(api: Api, alice: Any, upstream: Upstream) -> None:
    upstream.script = lambda asked: Answer(pieces=[delta("Hel"), "hang"])
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(execute, api, alice)
        assert until(lambda: Run.objects.filter(user=alice).exists(), 10)
        assert until(lambda: bool(upstream.requests), 10)
        run = Run.objects.get(user=alice)
        api.post(f"/runs/{run.pk}/cancel", headers=api.as_(alice))
        response = waiting.result()
    assert error(response) == (409, "run_cancelled")
    assert response.json()["runId"] == str(run.pk)


class SilentReader:
    """A reader of a run that does not end; `closed` after the response has left it."""

    closed = False

    def __init__(self, *events: bytes) -> None:
        self.events = list(enumerate(events, 1))

    async def read(self, within_s: float) -> list[tuple[int, bytes]]:
        events, self.events = self.events, []
        return events

    def close(self) -> None:
        self.closed = True


@pytest.mark.parametrize(("events", "status"), [([b'{"type":"start"}'], "running"), ([], "queued")])
def test_a_long_run_is_followed_elsewhere(monkeypatch: pytest.MonkeyPatch, events: list[bytes], status: str) -> None:
    monkeypatch.setattr(responses, "RESULT_WAIT_S", 0.01)
    run_id, reader = uuid.uuid4(), SilentReader(*events)
    result = responses.RunResult(lambda: reader, run_id, {"X-Run-Id": str(run_id)})
    response: Any = asyncio.run(result.open(2.0))
    assert (response.status_code, response["Location"]) == (202, f"/runs/{run_id}")
    data = json.loads(response.content)["data"]
    assert data == {"runId": str(run_id), "status": status, "eventsUrl": f"/runs/{run_id}/events"}
    assert response["X-Run-Id"] == str(run_id) and reader.closed


def test_a_client_that_leaves() -> None:
    """The run goes on, unless the client asked for the opposite."""
    left: list[str] = []

    class Hanging(SilentReader):
        async def read(self, within_s: float) -> list[tuple[int, bytes]]:
            started.set()
            await asyncio.sleep(within_s)
            return []

    async def leave() -> None:
        waiting = asyncio.ensure_future(
            responses.RunResult(Hanging, uuid.uuid4(), {}, lambda: left.append("cancel")).open(2.0)
        )
        await started.wait()
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting

    started = asyncio.Event()
    asyncio.run(leave())
    assert left == ["cancel"]


def test_a_restarted_step_drops_its_text() -> None:
    result = ResultBuilder("r")
    result.add({"type": "step_start", "step": 1, "agent": "a"})
    result.add({"type": "chunk", "content": "lost"})
    result.add({"type": "step_start", "step": 1, "agent": "a", "restarted": True})
    result.add({"type": "chunk", "content": "kept"})
    with pytest.raises(RunCancelled) as caught:
        result.build({"type": "cancelled"})
    assert caught.value.body["output"] == "kept"
