"""Abandoned runs: ended, released if they produced nothing, with a last event."""

import asyncio
from datetime import timedelta
from typing import Any

import orjson
import pytest
from django.db.models.functions import Now

from billing.models import MonthlyUsage
from lunaos.infra import event_loop, redis
from runs import chain_steps, outcomes, services, tasks
from runs.eventlog import log
from runs.eventlog.recorder import RunEvent
from runs.models import Run, RunStep, RunText, Status
from runs.recovery import leases, liveness


def create_run(user: Any, **fields: Any) -> Run:
    fields = {"agent": "run", "provider": "deepseek", "model": "m", "text": "in", "request_id": "r", **fields}
    return services.create(user=user, **fields).run


def stop_heartbeats(run: Run, seconds: int) -> None:
    Run.objects.filter(pk=run.pk).update(heartbeat_at=Now() - timedelta(seconds=seconds))


def log_events(run: Run, *events: RunEvent) -> None:
    lines = [orjson.dumps(event) for event in events]
    event_loop.submit(log.append(log.AppendRequest(run.pk, 0, lines, 1))).result()


def read_events(run: Run) -> list[RunEvent]:
    return [orjson.loads(line) for _, line in event_loop.submit(log.read(run.pk)).result()]


def step(run: Run, **fields: Any) -> RunStep:
    fields = {"status": "succeeded", "input_tokens": 11, "output_tokens": 7, "cost_usd": "0.5", **fields}
    return RunStep(
        run_id=run.pk, expires_at=run.expires_at, position=1, agent="run", provider="deepseek", model="m",
        duration_ms=5, finished_at=run.created_at, **fields,
    )  # fmt: skip


def test_an_abandoned_run_is_ended_and_released(alice: Any) -> None:
    liveness.hold_lock()  # this process lives, but is silent
    dead, alive = create_run(alice), create_run(alice)
    stop_heartbeats(dead, 61)
    stop_heartbeats(alive, 50)
    tasks.end_abandoned_runs()

    dead.refresh_from_db()
    alive.refresh_from_db()
    assert (dead.status, dead.error_code, dead.charge) == ("interrupted", "interrupted", "released")
    assert alive.status == "running"
    assert MonthlyUsage.objects.get(user=alice).executions == 1
    assert [(event["type"], event["code"]) for event in read_events(dead)] == [("error", "interrupted")]


def test_the_output_of_an_abandoned_run_is_kept_and_counts(alice: Any) -> None:
    run = create_run(alice)
    log_events(run, {"type": "start"}, {"type": "chunk", "content": "half"})
    stop_heartbeats(run, 61)
    assert outcomes.end_abandoned(60) == 1

    run.refresh_from_db()
    assert (run.status, run.charge) == ("interrupted", "settled")
    text = RunText.objects.get(run_id=run.pk)
    assert text.output == "half"
    assert [orjson.loads(line)["type"] for line in text.events.split("\n")] == ["start", "chunk", "error"]


def test_tokens_of_an_abandoned_run_are_estimated_and_priced(alice: Any) -> None:
    run = create_run(alice, text="x" * 400)
    start = {"type": "start", "provider": "openai", "model": "gpt-4o"}
    log_events(run, start, {"type": "chunk", "content": "y" * 40})
    stop_heartbeats(run, 61)
    tasks.end_abandoned_runs()
    run.refresh_from_db()
    assert (run.status, run.provider, run.model) == ("interrupted", "openai", "gpt-4o")
    assert run.tokens_estimated and run.output_tokens == 10
    assert run.input_tokens > 100  # includes the agent's prompt
    assert run.cost_usd > 0 and run.cost_known


def test_the_open_step_of_a_chain_is_estimated(alice: Any) -> None:
    run = create_run(alice, agent="", chain="custom", steps=["run", "run"])
    assert chain_steps.save(run, step(run, output="found"))
    starts = [{"type": "step_start", "step": n, "agent": "run"} for n in (1, 2)]
    said = [{"type": "chunk", "content": text} for text in ("found", "y" * 40)]
    log_events(run, starts[0], said[0], starts[1], said[1])
    stop_heartbeats(run, 61)
    assert outcomes.interrupt(Run.objects.get(pk=run.pk), 60)
    run.refresh_from_db()
    assert run.tokens_estimated and run.output_tokens == 7 + 10 and run.input_tokens > 11
    assert run.cost_usd >= 0.5


DONE = {"type": "done", "tokens": {"input": 5, "output": 3, "cacheRead": 2}, "cost": "$0.0004", "duration": "1.0s"}


@pytest.mark.parametrize(
    ("last", "status", "code", "charge"),
    [
        (DONE, "succeeded", "", "settled"),
        ({"type": "error", "error": "No.", "code": "provider_error"}, "failed", "provider_error", "settled"),
        ({"type": "error", "error": "No.", "code": "interrupted"}, "interrupted", "interrupted", "settled"),
        ({"type": "cancelled"}, "cancelled", "", "settled"),
    ],
)
def test_a_run_ends_by_the_terminal_event_of_its_log(
    alice: Any, last: RunEvent, status: str, code: str, charge: str
) -> None:
    run = create_run(alice)
    log_events(run, {"type": "start"}, {"type": "chunk", "content": "all"}, last)
    stop_heartbeats(run, 61)
    assert outcomes.end_abandoned(60) == 1
    run.refresh_from_db()
    assert (run.status, run.error_code, run.charge) == (status, code, charge)
    if last is DONE:
        assert (run.input_tokens, run.output_tokens, run.cache_read_tokens) == (5, 3, 2)
        assert (float(run.cost_usd), run.tokens_estimated) == (0.0004, False)
    assert len(read_events(run)) == 3  # the terminal event is not repeated
    assert RunText.objects.get(run_id=run.pk).output == "all"


def test_an_abandoned_run_with_a_cancel_request_is_cancelled(alice: Any) -> None:
    run = create_run(alice)
    Run.objects.filter(pk=run.pk).update(cancel_requested_at=Now())
    stop_heartbeats(run, 61)
    outcomes.end_abandoned(60)
    run.refresh_from_db()
    assert (run.status, run.error_code) == ("cancelled", "")
    assert read_events(run) == [{"type": "cancelled"}]


def test_a_late_heartbeat_saves_the_run(alice: Any) -> None:
    run = create_run(alice)
    stop_heartbeats(run, 61)
    seen = Run.objects.get(pk=run.pk)
    leases.renew({run.pk: 1})
    assert outcomes.interrupt(seen, 60) is False
    assert Run.objects.get(pk=run.pk).status == "running"


def test_a_chain_that_is_ended_from_outside_keeps_its_figures(alice: Any) -> None:
    run = create_run(alice, agent="", chain="custom", steps=["run", "run"])
    assert chain_steps.save(run, step(run, output="found"))
    stop_heartbeats(run, 61)
    assert outcomes.interrupt(Run.objects.get(pk=run.pk), 60)
    run.refresh_from_db()
    assert (run.status, run.charge, run.input_tokens, run.output_tokens) == ("interrupted", "settled", 11, 7)
    assert float(run.cost_usd) == 0.5
    assert RunText.objects.get(run_id=run.pk).output == "found"


def test_an_error_of_one_run_does_not_stop_the_others(alice: Any) -> None:
    odd, dead = create_run(alice), create_run(alice)
    redis.client().set(log.channel(odd.pk), "no stream")
    stop_heartbeats(odd, 90)
    stop_heartbeats(dead, 61)
    assert outcomes.end_abandoned(60) == 1
    assert Run.objects.get(pk=dead.pk).status == "interrupted"
    assert Run.objects.get(pk=odd.pk).status == "running"  # the output is unknown while its log cannot be read


def test_only_one_executor_holds_a_lease(alice: Any) -> None:
    run = create_run(alice, agent="", chain="custom", steps=["run"], status="queued", attempt=0)
    claimed = leases.claim(run.pk)
    assert claimed and (claimed.attempt, claimed.status) == (1, "running")
    assert leases.claim(run.pk) is None
    assert leases.requeue(claimed) is False  # the lease has not expired

    stop_heartbeats(run, 16)
    again = leases.claim(run.pk)
    assert again and again.attempt == 2
    assert leases.renew({run.pk: 1}) == {} and leases.renew({run.pk: 2}) == {run.pk: False}
    assert chain_steps.save(claimed, step(run, output="late")) is False
    assert leases.release(claimed, None) is False and leases.release(again, None) is True
    late = outcomes.Outcome(Status.SUCCEEDED, "p", "m", attempt=1)
    assert outcomes.finish(claimed, late) is False


def test_a_repeated_step_replaces_its_row(alice: Any) -> None:
    run = create_run(alice, agent="", chain="custom", steps=["run"])
    assert chain_steps.save(run, step(run, status="failed", output="a"))
    assert chain_steps.save(run, step(run, output="b\0c"))
    (kept,) = chain_steps.load(run)
    assert (kept.status, kept.output) == ("succeeded", "bc")


@pytest.mark.parametrize("shown", [True, False])
def test_a_duration_above_the_columns_limit_is_capped(alice: Any, shown: bool) -> None:
    run = create_run(alice)
    outcome = outcomes.Outcome(
        Status.FAILED, "p", "m", ended_at=run.created_at + timedelta(milliseconds=2**40), shown=shown
    )
    assert outcomes.finish(run, outcome)
    assert Run.objects.get(pk=run.pk).duration_ms == 2**31 - 1


def test_the_log_refuses_a_fenced_execution(alice: Any) -> None:
    run = create_run(alice)

    async def play() -> list[Any]:
        await log.append(log.AppendRequest(run.pk, 0, [b'{"a":1}'], 1))
        assert await log.fence(run.pk, 2) == [(1, b'{"a":1}')]
        late = log.AppendRequest(run.pk, 1, [b'{"a":2}'], 1)
        gap = log.AppendRequest(run.pk, 5, [b'{"a":6}'], 2)
        right = log.AppendRequest(run.pk, 1, [b'{"b":2}', b'{"b":3}'], 2)
        return await log.append(late, gap, right)

    late, gap, right = asyncio.run_coroutine_threadsafe(play(), event_loop.get()).result()
    assert (late.appended, late.last_position) == (False, log.FENCED)
    assert (gap.appended, gap.last_position) == (False, 1)
    assert (right.appended, right.last_position) == (True, 3)
    assert read_events(run) == [{"a": 1}, {"b": 2}, {"b": 3}]
