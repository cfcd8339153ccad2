"""Free users' agents, chains and resumed chains above a daily limit on the server's own provider keys, over HTTP."""

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest

from agents import provider_keys
from billing.models import MonthlyUsage
from runs.metering import spending
from runs.models import DailySpending, Run
from testing.client import Api, answer, error, events, parse
from testing.loopback.upstream import Answer, Upstream, completion
from testing.servers import daphne

FREE = ("code-review", "testing-validation")


@pytest.fixture(scope="module")
def limited_server(
    django_db_setup: None,
    django_db_blocker: Any,
    folder: Path,
    provider_environment: dict[str, str],
    upstream_server: Upstream,
) -> Iterator[str]:
    """Start a web process with a limit of 1 USD for the free tier, and a scripted embedded model."""
    changes = {"LLM_FREE_DAILY_LIMIT_USD": "1", "LOCAL_BASE_URL": upstream_server.base_url, **provider_environment}
    with django_db_blocker.unblock(), daphne(folder / "limited.log", "/ready", **changes) as url:
        yield url


@pytest.fixture
def limited(database: None, limited_server: str) -> Iterator[Api]:
    with Api(base_url=limited_server, timeout=30) as client:
        yield client


@pytest.fixture
def used_up(limited: Api) -> None:
    DailySpending.objects.create(day=spending.cost_today().day, free=True, shard=3, cost_usd=1)


def resume(api: Api, user: Any, run_id: str) -> httpx.Response:
    return api.post(f"/runs/{run_id}/resume", headers=api.as_(user))


def test_it_works(limited: Api, alice: Any, charlie: Any, upstream: Upstream) -> None:
    """The run that reaches the limit finishes; the next one is refused, also for another free user."""
    upstream.respond_with(completion("so", tokens=(10_000_000, 1_000_000)))
    assert answer(limited.execute(alice)) == "so"
    assert spending.cost_today().free == Run.objects.get(user=alice).cost_usd > 1

    response = limited.execute(charlie)
    assert error(response) == (503, "spend_limit_reached")
    assert 1 <= int(response.headers["Retry-After"]) <= 3600
    assert response.json()["upgradeUrl"].startswith("http")
    assert "PUT /providers/deepseek/key" in response.json()["error"]
    assert len(upstream.requests) == 1
    assert not Run.objects.filter(user=charlie).exists() and not MonthlyUsage.objects.filter(user=charlie).exists()


def test_a_chain(limited: Api, alice: Any, used_up: None, upstream: Upstream) -> None:
    assert error(limited.execute_chain(alice, *FREE)) == (503, "spend_limit_reached")
    assert not Run.objects.filter(user=alice).exists()


def test_after_the_provider_and_before_the_quota(limited: Api, alice: Any, used_up: None, upstream: Upstream) -> None:
    limited.execute(alice, provider="local")
    MonthlyUsage.objects.filter(user=alice).update(executions=100)
    assert error(limited.execute(alice, provider="anthropic")) == (503, "provider_not_configured")
    assert error(limited.execute(alice, agent="seo")) == (403, "pro_required")
    assert error(limited.execute(alice)) == (503, "spend_limit_reached")
    assert error(limited.execute(alice, provider="local")) == (403, "quota_exceeded")


def test_a_chain_is_resumed_on_another_day(limited: Api, alice: Any, upstream: Upstream, chains_worker: Any) -> None:
    """The second end adds only the cost since the first one."""
    upstream.respond_with(
        completion("found", tokens=(1000, 100)), Answer(status=401), completion("tested", tokens=(3000, 300))
    )
    run_id = limited.execute_chain(alice, *FREE).headers["X-Run-Id"]
    run = Run.objects.get(pk=run_id)
    first_usd = run.cost_usd
    assert run.status == "failed" and spending.cost_today().free == first_usd > 0

    DailySpending.objects.update(cost_usd=Decimal(1) + first_usd)
    assert error(resume(limited, alice, run_id)) == (503, "spend_limit_reached")
    run.refresh_from_db()
    assert (run.status, len(upstream.requests)) == ("failed", 2)

    DailySpending.objects.update(cost_usd=first_usd)
    _, seen = parse(resume(limited, alice, run_id).text)
    assert seen[-1]["type"] == "chain_done"
    run.refresh_from_db()
    assert spending.cost_today().free == run.cost_usd > first_usd


def test_own_keys_paying_tiers_and_the_embedded_model_go_on(
    limited: Api, alice: Any, bob: Any, charlie: Any, used_up: None, upstream: Upstream, chains_worker: Any
) -> None:
    provider_keys.set_key(user=charlie, provider="deepseek", key="sk-own-0123456789")
    for response in (limited.execute(bob), limited.execute(charlie), limited.execute(alice, provider="local")):
        assert answer(response) == "Hello world"
    for user in (bob, charlie):
        assert events(limited.execute_chain(user, *FREE))[-1]["type"] == "chain_done"
    assert spending.cost_today().free == 1


def test_an_answer_that_was_given_is_given_again(limited: Api, alice: Any, upstream: Upstream) -> None:
    """A replay of an idempotency key costs nothing and is not refused."""

    def ask() -> httpx.Response:
        headers = {**limited.as_(alice), "Idempotency-Key": "once"}
        return limited.post("/agents/execute", json={"agent": "code-review", "context": "x"}, headers=headers)

    first = ask()
    DailySpending.objects.create(day=spending.cost_today().day, free=True, shard=17, cost_usd=1)
    again = ask()
    assert (again.status_code, again.headers["X-Run-Id"]) == (200, first.headers["X-Run-Id"])
