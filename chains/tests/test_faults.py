"""What runs and their readers live through: killed processes, restarted servers. All of it is real."""

import itertools
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lunaos.embedded.servers import until
from testing.client import Event, error, parse
from testing.reader import ReconnectingReader, start_run
from testing.stack import Stack
from testing.upstream import DONE, Answer, Upstream, completion, delta

CHAIN = {"steps": [{"agent": "code-review"}, {"agent": "documentation"}, {"agent": "deployment"}], "context": "x"}
AGENT = {"agent": "code-review", "context": "x"}
NUMBERS = itertools.count(1)


@pytest.fixture(scope="module")
def stack_process(tmp_path_factory: pytest.TempPathFactory, provider_environment: dict[str, str]) -> Iterator[Stack]:
    folder: Path = tmp_path_factory.mktemp("s")
    with Stack(folder, **provider_environment) as stack:
        stack.start("chains-1")
        yield stack


@pytest.fixture
def stack(stack_process: Stack, upstream: Upstream) -> Iterator[Stack]:
    yield stack_process
    upstream.resume.set()


@pytest.fixture
def alice(stack: Stack) -> dict[str, str]:
    """Her headers; a new one for each test."""
    return stack.sign_up(next(NUMBERS))


def hangs_in_step_2(upstream: Upstream) -> None:
    """Step 1 is answered; step 2 begins and waits to be told to go on; what is asked later is answered at once."""
    waiting = Answer(pieces=[delta("half "), "wait", delta("tested", "stop"), DONE])
    upstream.respond_with(completion("found"), waiting, completion("tested again"), completion("deployed"))


def run_of(stack: Stack, user: dict[str, str], run_id: str) -> dict[str, Any]:
    return stack.api.get(f"/runs/{run_id}", headers=user).json()["data"]


def executions(stack: Stack, run_id: str) -> int:
    sql = "SELECT executions FROM billing_monthlyusage u JOIN runs_run r ON r.user_id = u.user_id WHERE r.id = %s"
    return stack.sql(sql, run_id)[0][0]


def kinds(events: list[Event]) -> list[tuple[str, int | None]]:
    return [(event["type"], event.get("step")) for event in events]


RESTARTED = [
    *(("chain_start", None), ("step_start", 1), ("chunk", None), ("step_done", 1), ("step_start", 2), ("chunk", None)),
    *(("step_start", 2), ("chunk", None), ("step_done", 2)),
    *(("step_start", 3), ("chunk", None), ("step_done", 3), ("chain_done", None)),
]


@pytest.mark.parametrize("with_signal", [signal.SIGKILL, signal.SIGTERM])
def test_a_worker_that_ends_in_step_2(
    stack: Stack, alice: dict[str, str], upstream: Upstream, with_signal: signal.Signals
) -> None:
    """Another goes on from step 2, without repeating step 1 and without a second charge."""
    hangs_in_step_2(upstream)
    run_id = start_run(stack.api, alice, "/chains/execute", CHAIN, "half")
    reader = ReconnectingReader(stack.api, alice, run_id)
    stack.start("chains-2")
    stack.end("chains-1", with_signal)
    events = reader.end()
    stack.start("chains-1")
    stack.end("chains-2")

    assert kinds(events) == RESTARTED
    assert events[6]["restarted"] is True
    assert len(upstream.requests) == 4  # step 1 once, step 2 twice, step 3 once
    assert "found" in upstream.requests[2]["messages"][1]["content"]
    run = run_of(stack, alice, run_id)
    assert (run["status"], run["output"]) == ("succeeded", "deployed")
    assert [step["output"] for step in run["steps"]] == ["found", "tested again", "deployed"]
    assert executions(stack, run_id) == 1
    if with_signal == signal.SIGTERM:  # a step that was handed over keeps what its first attempt took
        assert run["steps"][1]["inputTokens"] > run["steps"][2]["inputTokens"]
        assert stack.sql("SELECT tokens_estimated FROM runs_step WHERE run_id = %s AND position = 2", run_id) == [
            (True,)
        ]
    assert 0 < run["firstTokenMs"] <= run["durationMs"]


def test_a_worker_that_wakes_up_too_late(stack: Stack, alice: dict[str, str], upstream: Upstream) -> None:
    """It was only asleep for longer than its lease; what it still wants to say is refused."""
    hangs_in_step_2(upstream)
    run_id = start_run(stack.api, alice, "/chains/execute", CHAIN, "half")
    reader = ReconnectingReader(stack.api, alice, run_id)
    stack.start("chains-2")
    stack.signal("chains-1", signal.SIGSTOP)
    events = reader.end()
    upstream.resume.set()
    stack.signal("chains-1", signal.SIGCONT)
    assert until(lambda: "executed elsewhere" in stack.log("chains-1"), 20)
    stack.end("chains-2")

    assert kinds(events) == RESTARTED
    assert parse(stack.api.get(f"/runs/{run_id}/events", headers=alice).text)[1] == events
    assert [step["output"] for step in run_of(stack, alice, run_id)["steps"]] == ["found", "tested again", "deployed"]
    assert executions(stack, run_id) == 1


def test_a_killed_web_process_costs_a_chain_nothing(stack: Stack, alice: dict[str, str], upstream: Upstream) -> None:
    hangs_in_step_2(upstream)
    run_id = start_run(stack.api, alice, "/chains/execute", CHAIN, "half")
    reader = ReconnectingReader(stack.api, alice, run_id)
    assert until(lambda: len(reader.events) == 6, 10)
    stack.end("web")
    upstream.resume.set()
    stack.start("web")

    events = reader.end()
    assert kinds(events)[-1] == ("chain_done", None)
    assert "".join(event.get("content", "") for event in events) == "foundhalf testedtested again"
    assert executions(stack, run_id) == 1


@pytest.mark.parametrize(("piece", "charge"), [(delta("half "), "settled"), (b": thinking\n\n", "released")])
def test_an_agents_run_ends_with_its_killed_process(
    stack: Stack, alice: dict[str, str], upstream: Upstream, piece: bytes, charge: str
) -> None:
    upstream.respond_with(Answer(pieces=[piece, "wait"]))
    run_id = start_run(stack.api, alice, "/agents/execute", AGENT, "half" if charge == "settled" else "keep-alive")
    stack.end("web")
    stack.start("web")
    reader = ReconnectingReader(stack.api, alice, run_id)
    stack.sql("UPDATE runs_run SET heartbeat_at = now() - interval '61 seconds' WHERE id = %s", run_id)

    last = reader.end()[-1]
    assert (last["type"], last["code"]) == ("error", "interrupted")
    run = run_of(stack, alice, run_id)
    assert (run["status"], run["output"]) == ("interrupted", "half " if charge == "settled" else "")
    assert stack.sql("SELECT charge FROM runs_run WHERE id = %s", run_id) == [(charge,)]
    assert executions(stack, run_id) == (1 if charge == "settled" else 0)


def test_a_web_process_that_is_asked_to_stop_says_so_at_once(
    stack: Stack, alice: dict[str, str], upstream: Upstream
) -> None:
    upstream.respond_with(Answer(pieces=[delta("half "), "wait"]))
    run_id = start_run(stack.api, alice, "/agents/execute", AGENT, "half")
    stack.end("web", signal.SIGTERM)
    assert upstream.client_gone.wait(5)
    stack.start("web")
    assert kinds(ReconnectingReader(stack.api, alice, run_id).end()) == [
        ("start", None),
        ("chunk", None),
        ("error", None),
    ]
    assert run_of(stack, alice, run_id)["errorCode"] == "interrupted"


def restart_valkey(stack: Stack) -> None:
    stack.end("valkey")
    stack.start("valkey")


def restart_postgres(stack: Stack) -> None:
    stack.end("postgres", signal.SIGQUIT)  # as in a crash
    stack.start("postgres")


@pytest.mark.parametrize("restart", [restart_valkey, restart_postgres])
def test_a_server_that_restarts_in_the_middle(
    stack: Stack, alice: dict[str, str], upstream: Upstream, restart: Callable[[Stack], None]
) -> None:
    """The chain and the agent's run finish, their readers miss nothing, and the worker takes the next chain."""
    hangs_in_step_2(upstream)
    chain_id = start_run(stack.api, alice, "/chains/execute", CHAIN, "half")
    upstream.respond_with(Answer(pieces=[delta("one "), "wait", delta("two", "stop"), DONE]), completion("next"))
    agent_id = start_run(stack.api, alice, "/agents/execute", AGENT, "one")
    readers = [ReconnectingReader(stack.api, alice, chain_id), ReconnectingReader(stack.api, alice, agent_id)]
    assert until(lambda: len(readers[0].events) == 6 and len(readers[1].events) == 2, 10)

    restart(stack)
    upstream.resume.set()
    of_chain, of_agent = readers[0].end(), readers[1].end()
    assert kinds(of_chain)[-1] == ("chain_done", None) and len(of_chain) == 12
    assert kinds(of_agent) == [("start", None), ("chunk", None), ("chunk", None), ("done", None)]
    assert {run_of(stack, alice, run_id)["status"] for run_id in (chain_id, agent_id)} == {"succeeded"}
    assert executions(stack, chain_id) == 2

    upstream.respond_with(completion("next"))
    assert kinds(
        ReconnectingReader(stack.api, alice, start_run(stack.api, alice, "/chains/execute", CHAIN, "chunk")).end()
    )[-1] == (
        "chain_done",
        None,
    )


def test_without_valkey_a_chain_is_refused_and_not_counted(
    stack: Stack, alice: dict[str, str], upstream: Upstream
) -> None:
    stack.end("valkey")
    try:
        key = {**alice, "Idempotency-Key": "again"}
        response = stack.api.post("/chains/execute", json=CHAIN, headers=key)
        assert error(response) == (503, "service_unavailable")
        assert int(response.headers["Retry-After"]) > 0
    finally:
        stack.start("valkey")
    ((run_id, status, charge),) = stack.sql(
        "SELECT id, status, charge FROM runs_run WHERE status = 'failed' ORDER BY created_at DESC LIMIT 1"
    )
    assert (status, charge, executions(stack, run_id)) == ("failed", "released", 0)
    events = parse(stack.api.get(f"/runs/{run_id}/events", headers=alice).text)[1]
    assert kinds(events) == [("chain_start", None), ("error", None)]

    again = stack.api.post("/chains/execute", json=CHAIN, headers=key)
    assert kinds(parse(again.text)[1])[-1] == ("chain_done", None)
    assert "Idempotency-Replayed" not in again.headers


def test_without_valkey_an_agent_answers_all_the_same(stack: Stack, alice: dict[str, str], upstream: Upstream) -> None:
    stack.end("valkey")
    try:
        response = stack.api.post("/agents/execute", json=AGENT, headers=alice)
        assert kinds(parse(response.text)[1]) == [("start", None), ("chunk", None), ("chunk", None), ("done", None)]
    finally:
        stack.start("valkey")
    run_id = response.headers["X-Run-Id"]
    assert parse(stack.api.get(f"/runs/{run_id}/events", headers=alice).text) == parse(response.text)
