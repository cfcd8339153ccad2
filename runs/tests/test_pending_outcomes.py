"""Runs that ended while PostgreSQL was away get their true outcome later."""

from collections.abc import Awaitable
from decimal import Decimal
from typing import Any

import orjson
import pytest
from django.conf import LazySettings
from django.db import OperationalError

from billing.models import MonthlyUsage
from lunaos.infra import event_loop, redis
from runs import executors, outcomes, services, tasks
from runs.eventlog import log
from runs.eventlog.recorder import Recorder
from runs.metering.tokens import TokenUsage
from runs.models import Run, RunText, Status
from runs.outcomes import Failure, Outcome
from runs.recovery import pending_outcomes

DONE = b'{"type":"done","tokens":{"input":7,"output":3},"cost":"$0.0004","duration":"1.0s"}'
TOKENS = TokenUsage(input=7, output=3, reasoning=1)


def create_run(user: Any) -> Run:
    fields: dict[str, Any] = {"agent": "run", "provider": "deepseek", "model": "m", "text": "in", "request_id": "r"}
    return services.create(user=user, **fields).run


def run_on_loop(awaitable: Awaitable[Any]) -> Any:
    async def play() -> Any:
        return await awaitable

    return event_loop.submit(play()).result()


def log_lines(run: Run, *lines: bytes) -> None:
    run_on_loop(log.append(log.AppendRequest(run.pk, 0, lines, 1)))


@pytest.fixture
def impatient(settings: LazySettings) -> None:
    settings.DATABASE_PATIENCE_S = 0.0


@pytest.fixture
def refuses(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Refuse to write a run's end until the second entry of the result is called."""
    asked: list[Outcome] = []
    write = outcomes.finish

    def refuse(run: Run, outcome: Outcome) -> bool:
        asked.append(outcome)
        raise OperationalError("cannot execute UPDATE in a read-only transaction")

    monkeypatch.setattr(outcomes, "finish", refuse)
    return asked, lambda: monkeypatch.setattr(outcomes, "finish", write)


@pytest.mark.parametrize(
    ("outcome", "charge"),
    [
        (
            Outcome(Status.SUCCEEDED, "openai", "gpt-4o", shown=True, tokens=TOKENS, cost_usd=Decimal("0.0004")),
            "settled",
        ),
        (Outcome(Status.FAILED, "openai", "gpt-4o", Failure("provider_error", "No.", 500, {"code": "x"})), "released"),
        (Outcome(Status.FAILED, "openai", "gpt-4o", Failure("content_filtered", "No."), counted=True), "settled"),
        (Outcome(Status.CANCELLED, "openai", "gpt-4o", asked=True, first_token_ms=5), "settled"),
    ],
)
def test_it_works(alice: Any, impatient: None, refuses: Any, outcome: Outcome, charge: str) -> None:
    run, (asked, return_) = create_run(alice), refuses
    log_lines(run, b'{"type":"start"}', b'{"type":"chunk","content":"half"}')
    recorder = Recorder(run.pk)
    recorder.load_log([line for _, line in run_on_loop(log.read(run.pk))])
    run_on_loop(executors.finish(run, recorder, outcome, orjson.loads(DONE)))
    assert len(asked) == 2 and recorder.lines[-1] == DONE  # readers get the terminal event
    assert Run.objects.get(pk=run.pk).status == "running"

    with pytest.raises(OperationalError):
        tasks.end_abandoned_runs()
    return_()
    tasks.end_abandoned_runs()
    run.refresh_from_db()
    kept = RunText.objects.get(run_id=run.pk)
    failed = outcome.failure or Failure("", "")
    assert (run.status, run.charge, run.error_code) == (outcome.status, charge, failed.code)
    assert (run.provider, run.cost_usd) == ("openai", outcome.cost_usd)
    assert (run.first_token_ms is None) == (outcome.first_token_ms is None)
    assert TokenUsage.from_row(run) == outcome.tokens
    assert (kept.output, kept.error, kept.last_attempt) == ("half", failed.sentence, failed.last_attempt)
    assert kept.events.encode().split(b"\n")[-1] == DONE
    assert [line for _, line in run_on_loop(log.read(run.pk))] == kept.events.encode().split(b"\n")
    assert MonthlyUsage.objects.get(user=alice).executions == (charge == "settled")
    assert redis.client().hlen(pending_outcomes.KEY) == 0


def test_a_short_outage_leaves_nothing(alice: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    run, write, failures = create_run(alice), outcomes.finish, [OperationalError("53100")]

    def fail_once(run: Run, outcome: Outcome) -> bool:
        if failures:
            raise failures.pop()
        return write(run, outcome)

    monkeypatch.setattr(outcomes, "finish", fail_once)
    run_on_loop(executors.finish(run, Recorder(run.pk), Outcome(Status.SUCCEEDED, "p", "m"), {"type": "done"}))
    assert Run.objects.get(pk=run.pk).status == "succeeded"
    assert redis.client().hlen(pending_outcomes.KEY) == 0


def test_a_run_that_has_ended_meanwhile_is_not_changed(alice: Any) -> None:
    run, other = create_run(alice), create_run(alice)
    for each in (run, other):
        run_on_loop(pending_outcomes.store(each.pk, Outcome(Status.SUCCEEDED, "p", "m", attempt=1), DONE))
    assert outcomes.end_from_log(run, Status.CANCELLED)
    Run.objects.filter(pk=other.pk).delete()
    assert pending_outcomes.write_all() == 0
    assert Run.objects.get(pk=run.pk).status == "cancelled"
    assert redis.client().hlen(pending_outcomes.KEY) == 0


def test_an_unreadable_outcome_does_not_block_the_others(alice: Any) -> None:
    run = create_run(alice)
    redis.client().hset(pending_outcomes.KEY, "0" * 32, b"{")
    run_on_loop(pending_outcomes.store(run.pk, Outcome(Status.SUCCEEDED, "p", "m", attempt=1), DONE))
    assert pending_outcomes.write_all() == 1
    assert Run.objects.get(pk=run.pk).status == "succeeded"


def test_with_both_servers_away_the_run_is_left_to_the_sweep(
    alice: Any, impatient: None, refuses: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(*_: object) -> None:
        raise redis.RedisError("OOM")

    monkeypatch.setattr(pending_outcomes, "store", refuse)
    run = create_run(alice)
    with pytest.raises(OperationalError):
        run_on_loop(executors.finish(run, Recorder(run.pk), Outcome(Status.SUCCEEDED, "p", "m"), {"type": "done"}))
