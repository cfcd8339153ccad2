"""Input of a run without output: 4 kB for a week; resumable chains keep all."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from runs import outcomes, texts
from runs import services as run_services
from runs.models import Run, RunText, Status
from testing import logs
from testing.client import Api, error, parse
from testing.loopback.upstream import Answer, Upstream

LONG = {"ascii": "x" * 50_000, "umlauts": "aü" * 25_000, "faces": "🙂" * 50_000}
IN_VAIN = (Status.FAILED, Status.CANCELLED, Status.INTERRUPTED)


def create_run(user: Any, text: str, **fields: Any) -> Run:
    fields = {"agent": "run", "provider": "deepseek", "model": "m", "request_id": "r", **fields}
    return run_services.create(user=user, text=text, **fields).run


def end_run(run: Run, status: Status, **members: Any) -> RunText:
    assert outcomes.finish(run, outcomes.Outcome(status, "deepseek", "m", events="{}", **members))
    run.refresh_from_db()
    text = texts.load_text(run)
    assert text and RunText.objects.filter(run_id=run.pk).count() == 1 and text.events == "{}"
    return text


def days_kept(run: Run) -> int:
    return round((run.expires_at - datetime.now(UTC)) / timedelta(days=1))


@pytest.mark.parametrize("status", IN_VAIN)
@pytest.mark.parametrize("kind", LONG)
def test_an_agents_run_without_text_keeps_4_kb_for_a_week(alice: Any, status: Status, kind: str) -> None:
    run = create_run(alice, LONG[kind])
    text = end_run(run, status)
    assert 1_024 <= len(text.input.encode()) <= 4_096 and LONG[kind].startswith(text.input)
    assert days_kept(run) == 7


def test_runs_on_own_keys_keep_4_kb_too(alice: Any) -> None:
    assert len(end_run(create_run(alice, LONG["ascii"], own_key=True), Status.FAILED).input) == 4_096


def test_a_short_input_stays_whole(alice: Any) -> None:
    assert end_run(create_run(alice, "x" * 4_096), Status.FAILED).input == "x" * 4_096


@pytest.mark.parametrize("status", [Status.SUCCEEDED, *IN_VAIN])
def test_the_input_of_a_run_with_output_is_kept(alice: Any, status: Status) -> None:
    run = create_run(alice, LONG["faces"])
    assert end_run(run, status, output="half", shown=True).input == LONG["faces"]
    assert days_kept(run) == 90


@pytest.mark.parametrize(
    ("status", "kept"), [(Status.FAILED, 50_000), (Status.INTERRUPTED, 50_000), ("cancelled", 4_096)]
)
def test_a_chain_keeps_its_input_while_it_may_be_resumed(alice: Any, status: Status, kept: int) -> None:
    run = create_run(alice, LONG["ascii"], agent="", chain="custom", steps=["run"])
    assert len(end_run(run, status).input) == kept
    assert days_kept(run) == 90


def test_a_shorter_retention_stays_shorter(alice: Any, settings: Any) -> None:
    settings.RETENTION_DAYS = {"free": 3, "pro": 3, "team": 3}
    run = create_run(alice, "x")
    end_run(run, Status.FAILED)
    assert days_kept(run) == 3


def test_its_events_are_read_as_before(api: Api, alice: Any, upstream: Upstream) -> None:
    upstream.respond_with(Answer(status=500), Answer(status=500))
    response = api.execute(alice, context=LONG["ascii"])
    run_id = response.headers["X-Run-Id"]
    assert error(response) == (502, "provider_error")
    logs.expire_event_log(run_id)
    _, events = parse(api.get(f"/runs/{run_id}/events", headers=api.as_(alice)).text)
    assert events[-1]["type"] == "error"
    detail = api.get(f"/runs/{run_id}", headers=api.as_(alice)).json()["data"]
    assert len(detail["input"]) == 4_096
