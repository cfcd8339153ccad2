"""Executions on a user's own provider key, of agents and of chains: not counted on free, counted as usual above it."""

from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from agents import provider_keys
from billing.models import MonthlyUsage
from runs import ledger
from runs.models import Charge, Run
from testing.client import Api, answer, error, events, parse
from testing.upstream import Answer, Upstream, says

FREE = ("code-review", "testing-validation")


def give(user: Any) -> None:
    provider_keys.set_key(user=user, provider="deepseek", key="sk-own-0123456789")


def use_up(user: Any, executions: int = 100) -> None:
    month = datetime.now(UTC).date().replace(day=1)
    MonthlyUsage.objects.create(user=user, month=month, executions=executions, chains=0, told_percent=100)


def counted(user: Any) -> int:
    row = MonthlyUsage.objects.filter(user=user).first()
    return row.executions if row else 0


def usage(response: httpx.Response) -> tuple[str, str, str]:
    return tuple(response.headers[f"X-Usage-{name}"] for name in ("Used", "Limit", "Remaining"))  # type: ignore[return-value]


def test_it_works(api: Api, alice: Any, upstream: Upstream) -> None:
    api.execute(alice)
    give(alice)
    response = api.execute(alice)
    assert answer(response) == "Hello world"
    assert usage(response) == ("1", "100", "99")
    assert counted(alice) == 1
    assert Run.objects.get(pk=response.headers["X-Run-Id"]).charge == Charge.EXEMPT
    assert ledger.differences() == []


def test_a_month_that_was_never_begun_stays_so(api: Api, alice: Any, upstream: Upstream) -> None:
    give(alice)
    assert usage(api.execute(alice)) == ("0", "100", "100")
    assert not MonthlyUsage.objects.filter(user=alice).exists()
    figures = api.get("/billing/usage", headers=api.as_(alice)).json()["data"]
    assert (figures["used"], figures["remaining"]) == (0, 100)


def test_they_run_when_the_month_is_used_up(api: Api, alice: Any, upstream: Upstream) -> None:
    use_up(alice)
    assert error(api.execute(alice)) == (403, "quota_exceeded")
    give(alice)
    response = api.execute(alice)
    assert answer(response) == "Hello world"
    assert usage(response) == ("100", "100", "0")
    assert response.headers["X-Usage-Warning"] == "100% of monthly limit reached"
    assert error(api.execute(alice, provider="openai")) == (403, "quota_exceeded")  # on the server's key


def test_a_chain_too(api: Api, alice: Any, upstream: Upstream, chains_worker: Any) -> None:
    use_up(alice)
    assert error(api.execute_chain(alice, *FREE)) == (403, "quota_exceeded")
    give(alice)
    response = api.execute_chain(alice, *FREE)
    assert events(response)[-1]["type"] == "chain_done"
    assert counted(alice) == 100
    assert Run.objects.get(pk=response.headers["X-Run-Id"]).charge == Charge.EXEMPT


@pytest.mark.parametrize("tier", ["pro", "team"])
def test_above_free_they_count(api: Api, make_user: Any, upstream: Upstream, tier: str) -> None:
    user = make_user(tier=tier)
    give(user)
    assert usage(api.execute(user))[0] == "1"
    run = Run.objects.get(user=user)
    assert (run.own_key, run.charge, counted(user)) == (True, Charge.SETTLED, 1)
    assert ledger.differences() == []


def test_the_tiers_agents_stay_the_tiers(api: Api, alice: Any, upstream: Upstream) -> None:
    give(alice)
    assert error(api.execute(alice, agent="seo")) == (403, "pro_required")
    assert upstream.requests == []


def test_one_that_fails_stays_exempt_and_gives_nothing_back(api: Api, alice: Any, upstream: Upstream) -> None:
    use_up(alice, 50)
    give(alice)
    upstream.plays(Answer(status=500))
    assert error(api.execute(alice)) == (502, "provider_error")
    run = Run.objects.get(user=alice)
    assert (run.status, run.charge, counted(alice)) == ("failed", Charge.EXEMPT, 50)


def test_the_mails_about_the_month_do_not_go_out(api: Api, alice: Any, upstream: Upstream) -> None:
    use_up(alice)
    MonthlyUsage.objects.update(told_percent=0)
    give(alice)
    api.execute(alice)
    assert MonthlyUsage.objects.get(user=alice).told_percent == 0


# -- Asked again with the same idempotency key -------------------------------------------------------------------------


def again(api: Api, user: Any) -> httpx.Response:
    headers = {**api.as_(user), "Idempotency-Key": "once"}
    return api.post("/agents/execute", json={"agent": "code-review", "context": "x"}, headers=headers)


def test_one_that_came_to_nothing_runs_anew(api: Api, alice: Any, upstream: Upstream) -> None:
    give(alice)
    upstream.plays(Answer(status=500), Answer(status=500), says("now"))
    assert again(api, alice).status_code == 502
    response = again(api, alice)
    assert answer(response) == "now" and "Idempotency-Replayed" not in response.headers


def test_one_that_succeeded_is_replayed(api: Api, alice: Any, upstream: Upstream) -> None:
    give(alice)
    first, second = again(api, alice), again(api, alice)
    assert first.headers["X-Run-Id"] == second.headers["X-Run-Id"]
    assert len(upstream.requests) == 1


# -- Taken up again ----------------------------------------------------------------------------------------------------


def failed(api: Api, user: Any, upstream: Upstream, *answers: Answer) -> Run:
    upstream.plays(*answers, Answer(status=401))
    run = Run.objects.get(pk=api.execute_chain(user, *FREE).headers["X-Run-Id"])
    assert run.status == "failed"
    upstream.plays(says("so"))
    return run


def resume(api: Api, user: Any, run: Run) -> None:
    response = api.post(f"/runs/{run.pk}/resume", headers=api.as_(user))
    assert response.status_code == 200, response.text
    assert parse(response.text)[1][-1]["type"] == "chain_done"
    run.refresh_from_db()
    assert ledger.differences() == []


def test_a_chain_that_stays_on_the_own_key_stays_exempt(
    api: Api, alice: Any, upstream: Upstream, chains_worker: Any
) -> None:
    give(alice)
    run = failed(api, alice, upstream, says("found"))
    resume(api, alice, run)
    assert (run.charge, counted(alice)) == (Charge.EXEMPT, 0)


def test_one_that_goes_on_on_the_servers_key_is_counted(
    api: Api, alice: Any, upstream: Upstream, chains_worker: Any
) -> None:
    give(alice)
    run = failed(api, alice, upstream, says("found"))
    provider_keys.remove_key(user=alice, provider="deepseek")
    resume(api, alice, run)
    assert (run.charge, run.own_key, counted(alice)) == (Charge.SETTLED, False, 1)


def test_nor_does_it_go_on_there_when_the_month_is_used_up(
    api: Api, alice: Any, upstream: Upstream, chains_worker: Any
) -> None:
    give(alice)
    run = failed(api, alice, upstream, says("found"))
    provider_keys.remove_key(user=alice, provider="deepseek")
    use_up(alice)
    assert error(api.post(f"/runs/{run.pk}/resume", headers=api.as_(alice))) == (403, "quota_exceeded")
    run.refresh_from_db()
    assert (run.status, run.charge, run.own_key) == ("failed", Charge.EXEMPT, True)


def test_one_that_was_given_back_and_gets_a_key_is_exempt(
    api: Api, alice: Any, upstream: Upstream, chains_worker: Any
) -> None:
    run = failed(api, alice, upstream)
    assert run.charge == Charge.RELEASED
    give(alice)
    resume(api, alice, run)
    assert (run.charge, run.own_key, counted(alice)) == (Charge.EXEMPT, True, 0)


def test_one_that_is_charged_stays_so(api: Api, alice: Any, upstream: Upstream, chains_worker: Any) -> None:
    run = failed(api, alice, upstream, says("found"))
    give(alice)
    resume(api, alice, run)
    assert (run.charge, run.own_key, counted(alice)) == (Charge.SETTLED, True, 1)
