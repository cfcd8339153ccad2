"""Chains and their readers while real processes are killed and real servers are restarted."""

import signal
from collections.abc import Callable
from typing import Any

import pytest

from lunaos.embedded.servers import until
from testing.client import Event, error, parse
from testing.loopback.upstream import DONE, Answer, Upstream, completion, delta
from testing.reader import ReconnectingReader, start_run
from testing.stack import Stack, stack_fixtures

CHAIN = {"steps": [{"agent": "code-review"}, {"agent": "documentation"}, {"agent": "deployment"}], "context": "x"}
AGENT = {"agent": "code-review", "context": "x"}


stack_process, stack, alice = stack_fixtures("chains-1", changes={"LUNAOS_STREAM_HEARTBEAT_S": "0.3"})


def waits_in_step_2(upstream: Upstream) -> None:
    """Answer step 1, let step 2 wait for a signal, and answer later requests at once."""
    waiting = Answer(pieces=[delta("half "), "wait", delta("tested", "stop"), DONE])
    upstream.respond_with(completion("found"), waiting, completion("tested again"), completion("deployed"))


def get_run(stack: Stack, user: dict[str, str], run_id: str) -> dict[str, Any]:
    return stack.api.get(f"/runs/{run_id}", headers=user).json()["data"]


def count_attempts(stack: Stack, run_id: str) -> int:
    sql = "SELECT executions FROM billing_monthlyusage u JOIN runs_run r ON r.user_id = u.user_id WHERE r.id = %s"
    return stack.sql(sql, run_id)[0][0]


def types_and_steps(events: list[Event]) -> list[tuple[str, int | None]]:
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
    """Another worker continues with step 2, without repeating step 1 and without a second charge."""
    waits_in_step_2(upstream)
    run_id = start_run(stack.api, alice, "/chains/execute", CHAIN, "half")
    reader = ReconnectingReader(stack.api, alice, run_id)
    stack.start("chains-2")
    stack.end("chains-1", with_signal)
    events = reader.end()
    stack.start("chains-1")
    stack.end("chains-2")

    assert types_and_steps(events) == RESTARTED
    assert events[6]["restarted"] is True
    assert len(upstream.requests) == 4  # step 1 once, step 2 twice, step 3 once
    assert "found" in upstream.requests[2]["messages"][1]["content"]
    run = get_run(stack, alice, run_id)
    assert (run["status"], run["output"]) == ("succeeded", "deployed")
    assert [step["output"] for step in run["steps"]] == ["found", "tested again", "deployed"]
    assert count_attempts(stack, run_id) == 1
    if with_signal == signal.SIGTERM:  # a released step keeps the cost of its first attempt
        assert run["steps"][1]["inputTokens"] > run["steps"][2]["inputTokens"]
        assert stack.sql("SELECT tokens_estimated FROM runs_step WHERE run_id = %s AND position = 2", run_id) == [
            (True,)
        ]
    assert 0 < run["firstTokenMs"] <= run["durationMs"]


def test_a_worker_that_wakes_up_too_late(stack: Stack, alice: dict[str, str], upstream: Upstream) -> None:
    """A worker that slept longer than its lease is refused when it writes."""
    waits_in_step_2(upstream)
    run_id = start_run(stack.api, alice, "/chains/execute", CHAIN, "half")
    reader = ReconnectingReader(stack.api, alice, run_id)
    stack.start("chains-2")
    stack.signal("chains-1", signal.SIGSTOP)
    events = reader.end()
    upstream.resume.set()
    stack.signal("chains-1", signal.SIGCONT)
    assert until(lambda: "executed by another process" in stack.log("chains-1"), 20)
    stack.end("chains-2")

    assert types_and_steps(events) == RESTARTED
    assert parse(stack.api.get(f"/runs/{run_id}/events", headers=alice).text)[1] == events
    assert [step["output"] for step in get_run(stack, alice, run_id)["steps"]] == ["found", "tested again", "deployed"]
    assert count_attempts(stack, run_id) == 1


def test_a_killed_web_process_costs_a_chain_nothing(stack: Stack, alice: dict[str, str], upstream: Upstream) -> None:
    waits_in_step_2(upstream)
    run_id = start_run(stack.api, alice, "/chains/execute", CHAIN, "half")
    reader = ReconnectingReader(stack.api, alice, run_id)
    assert until(lambda: len(reader.events) == 6, 10)
    stack.end("web")
    upstream.resume.set()
    stack.start("web")

    events = reader.end()
    assert types_and_steps(events)[-1] == ("chain_done", None)
    assert "".join(event.get("content", "") for event in events) == "foundhalf testedtested again"
    assert count_attempts(stack, run_id) == 1


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
    run = get_run(stack, alice, run_id)
    assert (run["status"], run["output"]) == ("interrupted", "half " if charge == "settled" else "")
    assert stack.sql("SELECT charge FROM runs_run WHERE id = %s", run_id) == [(charge,)]
    assert count_attempts(stack, run_id) == (1 if charge == "settled" else 0)


def test_a_stopping_web_process_ends_its_streams_at_once(
    stack: Stack, alice: dict[str, str], upstream: Upstream
) -> None:
    upstream.respond_with(Answer(pieces=[delta("half "), "wait"]))
    run_id = start_run(stack.api, alice, "/agents/execute", AGENT, "half")
    stack.end("web", signal.SIGTERM)
    assert upstream.client_gone.wait(5)
    stack.start("web")
    assert types_and_steps(ReconnectingReader(stack.api, alice, run_id).end()) == [
        ("start", None),
        ("chunk", None),
        ("error", None),
    ]
    assert get_run(stack, alice, run_id)["errorCode"] == "interrupted"


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
    """The runs finish, their readers get all events, and the worker takes the next chain."""
    waits_in_step_2(upstream)
    chain_id = start_run(stack.api, alice, "/chains/execute", CHAIN, "half")
    upstream.respond_with(Answer(pieces=[delta("one "), "wait", delta("two", "stop"), DONE]), completion("next"))
    agent_id = start_run(stack.api, alice, "/agents/execute", AGENT, "one")
    readers = [ReconnectingReader(stack.api, alice, chain_id), ReconnectingReader(stack.api, alice, agent_id)]
    assert until(lambda: len(readers[0].events) == 6 and len(readers[1].events) == 2, 10)

    restart(stack)
    upstream.resume.set()
    of_chain, of_agent = readers[0].end(), readers[1].end()
    assert types_and_steps(of_chain)[-1] == ("chain_done", None) and len(of_chain) == 12
    assert types_and_steps(of_agent) == [("start", None), ("chunk", None), ("chunk", None), ("done", None)]
    assert {get_run(stack, alice, run_id)["status"] for run_id in (chain_id, agent_id)} == {"succeeded"}
    assert count_attempts(stack, chain_id) == 2

    upstream.respond_with(completion("next"))
    assert types_and_steps(
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
    assert (status, charge, count_attempts(stack, run_id)) == ("failed", "released", 0)
    events = parse(stack.api.get(f"/runs/{run_id}/events", headers=alice).text)[1]
    assert types_and_steps(events) == [("chain_start", None), ("error", None)]

    again = stack.api.post("/chains/execute", json=CHAIN, headers=key)
    assert types_and_steps(parse(again.text)[1])[-1] == ("chain_done", None)
    assert "Idempotency-Replayed" not in again.headers


def test_without_valkey_an_agent_answers_all_the_same(stack: Stack, alice: dict[str, str], upstream: Upstream) -> None:
    stack.end("valkey")
    try:
        response = stack.api.post("/agents/execute", json=AGENT, headers=alice)
        assert types_and_steps(parse(response.text)[1]) == [
            ("start", None),
            ("chunk", None),
            ("chunk", None),
            ("done", None),
        ]
    finally:
        stack.start("valkey")
    run_id = response.headers["X-Run-Id"]
    assert parse(stack.api.get(f"/runs/{run_id}/events", headers=alice).text) == parse(response.text)
