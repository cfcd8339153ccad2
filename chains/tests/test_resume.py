"""POST /runs/{id}/resume: a failed chain continues with the step that failed."""

from typing import Any

import pytest

from billing.models import MonthlyUsage
from runs.models import Run, RunText
from testing import logs
from testing.client import Api, Event, error, parse
from testing.loopback.upstream import Answer, Upstream, completion, delta

pytestmark = pytest.mark.usefixtures("chains_worker")
FREE = ("code-review", "testing-validation", "documentation")


def failed_in_step_2(api: Api, user: Any, upstream: Upstream) -> Run:
    upstream.respond_with(
        completion("found"), Answer(pieces=[delta("half "), 0.05, "cut"]), completion("tested"), completion("written")
    )
    run_id = api.execute_chain(user, *FREE).headers["X-Run-Id"]
    run = Run.objects.get(pk=run_id)
    assert run.status == "failed"
    return run


def resume(api: Api, user: Any, run: Run) -> tuple[list[int], list[Event]]:
    response = api.post(f"/runs/{run.pk}/resume", headers=api.as_(user))
    assert response.status_code == 200, response.text
    return parse(response.text)


def types_and_steps(events: list[Event]) -> list[tuple[str, int | None]]:
    return [(event["type"], event.get("step")) for event in events]


def test_it_works(api: Api, alice: Any, upstream: Upstream) -> None:
    run = failed_in_step_2(api, alice, upstream)
    upstream.requests.clear()
    positions, events = resume(api, alice, run)

    assert events[0] == {"type": "chain_start", "steps": 3, "runId": str(run.pk), "fromStep": 2}
    assert types_and_steps(events[1:]) == [
        *(("step_start", 2), ("chunk", None), ("step_done", 2)),
        *(("step_start", 3), ("chunk", None), ("step_done", 3), ("chain_done", None)),
    ]
    assert events[1]["restarted"] is True
    assert len(upstream.requests) == 2 and "found" in upstream.requests[0]["messages"][1]["content"]
    assert positions[0] == 8  # after chain_start, the three events of step 1, step_start, chunk and error
    run.refresh_from_db()
    assert (run.status, run.error_code, run.charge) == ("succeeded", "", "settled")


def test_the_whole_stream_has_no_error_in_the_middle(api: Api, alice: Any, upstream: Upstream) -> None:
    run = failed_in_step_2(api, alice, upstream)
    resume(api, alice, run)
    _, events = parse(api.get(f"/runs/{run.pk}/events", headers=api.as_(alice)).text)
    assert types_and_steps(events)[-1] == ("chain_done", None)
    assert "error" not in {event["type"] for event in events}


def test_a_charged_chain_is_not_charged_again(api: Api, alice: Any, upstream: Upstream) -> None:
    run = failed_in_step_2(api, alice, upstream)
    resume(api, alice, run)
    assert MonthlyUsage.objects.get(user=alice).executions == 1


def test_a_released_chain_is_charged_again(api: Api, alice: Any, upstream: Upstream) -> None:
    upstream.respond_with(Answer(status=401), completion("a"))
    run = Run.objects.get(pk=api.execute_chain(alice, *FREE).headers["X-Run-Id"])
    assert MonthlyUsage.objects.get(user=alice).executions == 0
    resume(api, alice, run)
    run.refresh_from_db()
    assert (run.status, run.charge, MonthlyUsage.objects.get(user=alice).executions) == ("succeeded", "settled", 1)


def test_without_an_execution_left(api: Api, alice: Any, upstream: Upstream) -> None:
    upstream.respond_with(Answer(status=401))
    run = Run.objects.get(pk=api.execute_chain(alice, *FREE).headers["X-Run-Id"])
    MonthlyUsage.objects.filter(user=alice).update(executions=100)
    response = api.post(f"/runs/{run.pk}/resume", headers=api.as_(alice))
    assert error(response) == (403, "quota_exceeded")
    run.refresh_from_db()
    assert (run.status, run.charge) == ("failed", "released")


def test_a_charged_chain_goes_on_though_the_month_is_used_up(api: Api, alice: Any, upstream: Upstream) -> None:
    run = failed_in_step_2(api, alice, upstream)
    MonthlyUsage.objects.filter(user=alice).update(executions=100)
    assert types_and_steps(resume(api, alice, run)[1])[-1] == ("chain_done", None)
    assert MonthlyUsage.objects.get(user=alice).executions == 100


def test_the_tier_is_checked_again(api: Api, bob: Any, upstream: Upstream) -> None:
    upstream.respond_with(completion("found"), Answer(status=401))
    run_id = api.execute_chain(bob, chain="security-audit").headers["X-Run-Id"]
    bob.tier = "free"
    bob.save()
    assert error(api.post(f"/runs/{run_id}/resume", headers=api.as_(bob))) == (403, "pro_required")
    assert Run.objects.get(pk=run_id).status == "failed"


def test_another_users_chain_is_not_there(api: Api, alice: Any, charlie: Any, upstream: Upstream) -> None:
    run = failed_in_step_2(api, alice, upstream)
    assert error(api.post(f"/runs/{run.pk}/resume", headers=api.as_(charlie))) == (404, "not_found")


def test_only_a_failed_chain(api: Api, alice: Any, upstream: Upstream) -> None:
    done = api.execute_chain(alice, *FREE).headers["X-Run-Id"]
    upstream.respond_with(Answer(status=401))
    of_an_agent = api.execute(alice).headers["X-Run-Id"]
    for run_id in (done, of_an_agent):
        assert error(api.post(f"/runs/{run_id}/resume", headers=api.as_(alice))) == (409, "run_not_resumable")


def test_it_can_fail_again_and_be_resumed_again(api: Api, alice: Any, upstream: Upstream) -> None:
    upstream.respond_with(completion("found"), Answer(status=401), Answer(status=401), completion("tested"))
    run = Run.objects.get(pk=api.execute_chain(alice, *FREE).headers["X-Run-Id"])
    assert error(api.post(f"/runs/{run.pk}/resume", headers=api.as_(alice))) == (502, "provider_error")
    assert types_and_steps(resume(api, alice, run)[1])[-1] == ("chain_done", None)


def test_an_expired_log_is_refilled_from_the_database(api: Api, alice: Any, upstream: Upstream) -> None:
    run = failed_in_step_2(api, alice, upstream)
    logs.expire_event_log(run.pk)
    positions, _ = resume(api, alice, run)
    assert positions[0] == 8
    positions, events = parse(api.get(f"/runs/{run.pk}/events", headers=api.as_(alice)).text)
    assert types_and_steps(events)[:3] == [("chain_start", None), ("step_start", 1), ("chunk", None)]
    assert 7 not in positions  # the error, which is no longer the run's last event


def test_expired_events(api: Api, alice: Any, upstream: Upstream) -> None:
    run = failed_in_step_2(api, alice, upstream)
    RunText.objects.filter(run_id=run.pk).delete()
    assert error(api.post(f"/runs/{run.pk}/resume", headers=api.as_(alice))) == (410, "events_expired")
