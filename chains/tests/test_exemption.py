"""Executions on a user's own provider key: not counted on the free tier, counted on the others."""

from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from agents import provider_keys
from billing.models import MonthlyUsage
from runs import ledger
from runs.models import Charge, Run
from testing.client import Api, answer, error, events, parse
from testing.loopback.upstream import Answer, Upstream, completion

FREE = ("code-review", "testing-validation")


def add_key(user: Any) -> None:
    provider_keys.set_key(user=user, provider="deepseek", key="sk-own-0123456789")


def exhaust_quota(user: Any, executions: int = 100) -> None:
    month = datetime.now(UTC).date().replace(day=1)
    MonthlyUsage.objects.create(user=user, month=month, executions=executions, chains=0, told_percent=100)


def count_executions(user: Any) -> int:
    row = MonthlyUsage.objects.filter(user=user).first()
    return row.executions if row else 0


def usage(response: httpx.Response) -> tuple[str, str, str]:
    return tuple(response.headers[f"X-Usage-{name}"] for name in ("Used", "Limit", "Remaining"))  # type: ignore[return-value]


def test_it_works(api: Api, alice: Any, upstream: Upstream) -> None:
    api.execute(alice)
    add_key(alice)
    response = api.execute(alice)
    assert answer(response) == "Hello world"
    assert usage(response) == ("1", "100", "99")
    assert count_executions(alice) == 1
    assert Run.objects.get(pk=response.headers["X-Run-Id"]).charge == Charge.EXEMPT
    assert ledger.find_mismatches() == []


def test_no_quota_row_is_created(api: Api, alice: Any, upstream: Upstream) -> None:
    add_key(alice)
    assert usage(api.execute(alice)) == ("0", "100", "100")
    assert not MonthlyUsage.objects.filter(user=alice).exists()
    figures = api.get("/billing/usage", headers=api.as_(alice)).json()["data"]
    assert (figures["used"], figures["remaining"]) == (0, 100)


def test_they_run_when_the_month_is_used_up(api: Api, alice: Any, upstream: Upstream) -> None:
    exhaust_quota(alice)
    assert error(api.execute(alice)) == (403, "quota_exceeded")
    add_key(alice)
    response = api.execute(alice)
    assert answer(response) == "Hello world"
    assert usage(response) == ("100", "100", "0")
    assert response.headers["X-Usage-Warning"] == "100% of monthly limit reached"
    assert error(api.execute(alice, provider="openai")) == (403, "quota_exceeded")  # on the server's key


def test_a_chain_too(api: Api, alice: Any, upstream: Upstream, chains_worker: Any) -> None:
    exhaust_quota(alice)
    assert error(api.execute_chain(alice, *FREE)) == (403, "quota_exceeded")
    add_key(alice)
    response = api.execute_chain(alice, *FREE)
    assert events(response)[-1]["type"] == "chain_done"
    assert count_executions(alice) == 100
    assert Run.objects.get(pk=response.headers["X-Run-Id"]).charge == Charge.EXEMPT


@pytest.mark.parametrize("tier", ["pro", "team"])
def test_above_free_they_count(api: Api, make_user: Any, upstream: Upstream, tier: str) -> None:
    user = make_user(tier=tier)
    add_key(user)
    assert usage(api.execute(user))[0] == "1"
    run = Run.objects.get(user=user)
    assert (run.own_key, run.charge, count_executions(user)) == (True, Charge.SETTLED, 1)
    assert ledger.find_mismatches() == []


def test_the_tiers_agents_stay_the_tiers(api: Api, alice: Any, upstream: Upstream) -> None:
    add_key(alice)
    assert error(api.execute(alice, agent="seo")) == (403, "pro_required")
    assert upstream.requests == []


def test_a_failed_exempt_run_releases_nothing(api: Api, alice: Any, upstream: Upstream) -> None:
    exhaust_quota(alice, 50)
    add_key(alice)
    upstream.respond_with(Answer(status=500))
    assert error(api.execute(alice)) == (502, "provider_error")
    run = Run.objects.get(user=alice)
    assert (run.status, run.charge, count_executions(alice)) == ("failed", Charge.EXEMPT, 50)


def test_the_mails_about_the_month_do_not_go_out(api: Api, alice: Any, upstream: Upstream) -> None:
    exhaust_quota(alice)
    MonthlyUsage.objects.update(told_percent=0)
    add_key(alice)
    api.execute(alice)
    assert MonthlyUsage.objects.get(user=alice).told_percent == 0


# -- Repeated with the same idempotency key ----------------------------------------------------------------------------


def repeat(api: Api, user: Any) -> httpx.Response:
    headers = {**api.as_(user), "Idempotency-Key": "once"}
    return api.post("/agents/execute", json={"agent": "code-review", "context": "x"}, headers=headers)


def test_a_run_without_output_is_retried(api: Api, alice: Any, upstream: Upstream) -> None:
    add_key(alice)
    upstream.respond_with(Answer(status=500), Answer(status=500), completion("now"))
    assert repeat(api, alice).status_code == 502
    response = repeat(api, alice)
    assert answer(response) == "now" and "Idempotency-Replayed" not in response.headers


def test_a_run_that_succeeded_is_replayed(api: Api, alice: Any, upstream: Upstream) -> None:
    add_key(alice)
    first, second = repeat(api, alice), repeat(api, alice)
    assert first.headers["X-Run-Id"] == second.headers["X-Run-Id"]
    assert len(upstream.requests) == 1


# -- Resumed -----------------------------------------------------------------------------------------------------------


def failed_run(api: Api, user: Any, upstream: Upstream, *answers: Answer) -> Run:
    upstream.respond_with(*answers, Answer(status=401))
    run = Run.objects.get(pk=api.execute_chain(user, *FREE).headers["X-Run-Id"])
    assert run.status == "failed"
    upstream.respond_with(completion("so"))
    return run


def resume(api: Api, user: Any, run: Run) -> None:
    response = api.post(f"/runs/{run.pk}/resume", headers=api.as_(user))
    assert response.status_code == 200, response.text
    assert parse(response.text)[1][-1]["type"] == "chain_done"
    run.refresh_from_db()
    assert ledger.find_mismatches() == []


def test_a_chain_that_stays_on_the_own_key_stays_exempt(
    api: Api, alice: Any, upstream: Upstream, chains_worker: Any
) -> None:
    add_key(alice)
    run = failed_run(api, alice, upstream, completion("found"))
    resume(api, alice, run)
    assert (run.charge, count_executions(alice)) == (Charge.EXEMPT, 0)


def test_a_resume_on_the_servers_key_is_counted(api: Api, alice: Any, upstream: Upstream, chains_worker: Any) -> None:
    add_key(alice)
    run = failed_run(api, alice, upstream, completion("found"))
    provider_keys.remove_key(user=alice, provider="deepseek")
    resume(api, alice, run)
    assert (run.charge, run.own_key, count_executions(alice)) == (Charge.SETTLED, False, 1)


def test_a_resume_on_the_servers_key_needs_quota(api: Api, alice: Any, upstream: Upstream, chains_worker: Any) -> None:
    add_key(alice)
    run = failed_run(api, alice, upstream, completion("found"))
    provider_keys.remove_key(user=alice, provider="deepseek")
    exhaust_quota(alice)
    assert error(api.post(f"/runs/{run.pk}/resume", headers=api.as_(alice))) == (403, "quota_exceeded")
    run.refresh_from_db()
    assert (run.status, run.charge, run.own_key) == ("failed", Charge.EXEMPT, True)


def test_a_released_run_that_resumes_on_an_own_key_is_exempt(
    api: Api, alice: Any, upstream: Upstream, chains_worker: Any
) -> None:
    run = failed_run(api, alice, upstream)
    assert run.charge == Charge.RELEASED
    add_key(alice)
    resume(api, alice, run)
    assert (run.charge, run.own_key, count_executions(alice)) == (Charge.EXEMPT, True, 0)


def test_a_charged_run_stays_charged(api: Api, alice: Any, upstream: Upstream, chains_worker: Any) -> None:
    run = failed_run(api, alice, upstream, completion("found"))
    add_key(alice)
    resume(api, alice, run)
    assert (run.charge, run.own_key, count_executions(alice)) == (Charge.SETTLED, True, 1)
