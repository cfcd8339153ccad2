"""A real PostgreSQL that refuses writes, hangs or restarts while runs go on."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lunaos.api.middleware import SECURITY_HEADERS
from lunaos.embedded.servers import until
from runs.recovery import liveness
from testing.client import error
from testing.loopback.upstream import DONE, Answer, Upstream, delta, usage
from testing.reader import ReconnectingReader, start_run
from testing.stack import Stack, stack_fixtures

AGENT = {"agent": "code-review", "context": "x"}
CHAIN = {"steps": [{"agent": "code-review"}, {"agent": "documentation"}], "context": "x"}
LIMITS = {
    "LUNAOS_DATABASE_PATIENCE_S": "0.5",
    "LUNAOS_DATABASE_CONNECT_TIMEOUT_S": "2",
    "LUNAOS_DATABASE_LOCK_TIMEOUT_S": "0.5",
    "LUNAOS_DATABASE_STATEMENT_TIMEOUT_S": "1",
    "LUNAOS_STREAM_HEARTBEAT_S": "0.3",
}
HOLDS = "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND classid = %s"
WAITS = Answer(pieces=[delta("half "), "wait", delta("done", "stop"), usage(11, 7), DONE])
BREAKS = Answer(pieces=[delta("half "), "wait", b'data: {"error": {"message": "no"}}\n\n'])


stack_process, stack, alice = stack_fixtures("chains-1", changes=LIMITS)


def get_run(stack: Stack, user: dict[str, str], run_id: str) -> dict[str, Any]:
    return stack.api.get(f"/runs/{run_id}", headers=user).json()["data"]


def ends_as(stack: Stack, run_id: str, status: str) -> bool:
    sql = "SELECT status FROM runs_run WHERE id = %s"
    return until(lambda: stack.sql(sql, run_id) == [(status,)], 45)


def count_attempts(stack: Stack, run_id: str) -> int:
    sql = "SELECT executions FROM billing_monthlyusage u JOIN runs_run r ON r.user_id = u.user_id WHERE r.id = %s"
    return stack.sql(sql, run_id)[0][0]


def health(stack: Stack) -> str:
    return stack.api.get("/health").json()["data"]["services"]["database"]["status"]


@contextmanager
def read_only(stack: Stack) -> Iterator[None]:
    stack.sql("ALTER SYSTEM SET default_transaction_read_only = on")
    stack.sql("SELECT pg_reload_conf()")
    assert until(lambda: stack.sql("SHOW default_transaction_read_only") == [("on",)], 5)
    try:
        yield
    finally:
        stack.sql("ALTER SYSTEM RESET default_transaction_read_only")
        stack.sql("SELECT pg_reload_conf()")


@contextmanager
def stopped(stack: Stack) -> Iterator[None]:
    """Stop all of the server's processes, as on a machine that hangs."""
    postmaster = stack.pid("postgres")
    children = Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text().split()
    pids = [postmaster, *map(int, children)]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def test_runs_that_end_while_it_is_read_only(stack: Stack, alice: dict[str, str], upstream: Upstream) -> None:
    upstream.respond_with(WAITS, BREAKS, WAITS, WAITS)
    succeeds = start_run(stack.api, alice, "/agents/execute", AGENT, "half")
    fails = start_run(stack.api, alice, "/agents/execute", AGENT, "half")
    chain = start_run(stack.api, alice, "/chains/execute", CHAIN, "half")
    readers = [ReconnectingReader(stack.api, alice, run_id) for run_id in (succeeds, fails)]
    with read_only(stack):
        refused = stack.api.post("/agents/execute", json=AGENT, headers=alice)
        assert error(refused) == (503, "service_unavailable")
        assert int(refused.headers["Retry-After"]) > 0
        assert health(stack) == "down"
        upstream.resume.set()
        assert [reader.end()[-1]["type"] for reader in readers] == ["done", "error"]
        assert get_run(stack, alice, succeeds)["status"] == "running"

    runs = {}
    for run_id, status in ((succeeds, "succeeded"), (fails, "failed"), (chain, "succeeded")):
        assert ends_as(stack, run_id, status)
        runs[run_id] = get_run(stack, alice, run_id)
    assert (runs[succeeds]["inputTokens"], runs[succeeds]["outputTokens"]) == (11, 7)
    assert (runs[succeeds]["output"], runs[fails]["output"]) == ("half done", "half ")
    assert runs[fails]["errorCode"] == readers[1].events[-1]["code"] != "interrupted"
    assert count_attempts(stack, succeeds) == 3
    assert len(upstream.requests) == 4  # no step of the chain was asked twice
    assert until(lambda: health(stack) in ("ok", "degraded"), 15)


def test_a_stopped_server(stack: Stack, alice: dict[str, str], upstream: Upstream) -> None:
    """Requests are refused soon, streams get heartbeats, living workers keep chains."""
    upstream.respond_with(WAITS, WAITS, WAITS)
    agent = start_run(stack.api, alice, "/agents/execute", AGENT, "half")
    chain = start_run(stack.api, alice, "/chains/execute", CHAIN, "half")
    with (
        stack.api.stream("GET", f"/runs/{agent}/events", headers=alice) as response,
        stack.api.stream("GET", f"/runs/{chain}/events", headers=alice) as of_chain,
    ):
        lines, lines_of_chain = response.iter_lines(), of_chain.iter_lines()
        assert all(any("half" in line for line in each) for each in (lines, lines_of_chain))
        with stopped(stack):
            for _ in range(3):  # the first request drops a connection, the others find none
                refused = stack.api.get("/auth/me", headers=alice)
                assert error(refused) == (503, "service_unavailable")
                assert set(SECURITY_HEADERS) <= {name.title() for name in refused.headers} | set(refused.headers)
            for each in (lines, lines_of_chain):
                assert (
                    sum(1 for _ in zip(range(5), (line for line in each if line == ": keep-alive"), strict=False)) == 5
                )
        upstream.resume.set()
        assert any('"done"' in line for line in lines)
        assert any('"chain_done"' in line for line in lines_of_chain)
    assert ends_as(stack, agent, "succeeded")
    assert ends_as(stack, chain, "succeeded")
    assert len(upstream.requests) == 3
    assert stack.sql("SELECT attempt, losses FROM runs_run WHERE id = %s", chain) == [(1, 0)]


def test_the_runs_of_a_killed_web_process(stack: Stack, alice: dict[str, str], upstream: Upstream) -> None:
    """The liveness lock is gone, so runs with old heartbeats end after seconds."""
    upstream.respond_with(Answer(pieces=[delta("half "), "wait"]))
    run_id = start_run(stack.api, alice, "/agents/execute", AGENT, "half")
    assert until(lambda: bool(stack.sql(HOLDS, liveness.LOCK_SPACE)), 10)
    stack.end("web")
    stack.start("web")
    stack.sql("UPDATE runs_run SET heartbeat_at = now() - interval '16 seconds' WHERE id = %s", run_id)
    assert ends_as(stack, run_id, "interrupted")
    run = get_run(stack, alice, run_id)
    assert run["outputTokens"] == 2 and run["inputTokens"] > 0
    assert stack.sql("SELECT tokens_estimated, cost_known, cost_usd > 0 FROM runs_run WHERE id = %s", run_id) == [
        (True, True, True)
    ]


def test_right_after_its_restart(stack: Stack, alice: dict[str, str]) -> None:
    """Requests on broken connections are answered in JSON."""
    stack.end("postgres", signal.SIGQUIT)
    answers = [stack.api.get("/auth/me", headers=alice) for _ in range(10)]
    stack.start("postgres")
    answers += [stack.api.get("/auth/me", headers=alice) for _ in range(20)]
    for answer in answers:
        assert answer.headers["Content-Type"] == "application/json"
        assert answer.status_code in (200, 503) and answer.headers["X-RateLimit-Limit"]
    assert answers[0].status_code == 503 and answers[-1].status_code == 200
