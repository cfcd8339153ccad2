"""GET /billing/usage."""

from datetime import UTC, datetime
from typing import Any

import pytest

from billing.models import MonthlyUsage
from testing.client import Api, error
from testing.loopback.upstream import Answer, Upstream


def use(user: Any, executions: int, chains: int = 0) -> None:
    month = datetime.now(UTC).date().replace(day=1)
    MonthlyUsage.objects.create(user=user, month=month, executions=executions, chains=chains)


def test_it_works(api: Api, alice: Any, upstream: Upstream, chains_worker: Any) -> None:
    api.execute(alice)
    api.execute_chain(alice, "code-review")
    usage = api.get("/billing/usage", headers=api.as_(alice)).json()["data"]
    period = usage.pop("period")
    assert usage == {
        **{"tier": "free", "used": 2, "limit": 100, "remaining": 98, "percentUsed": 2},
        "breakdown": {"agentExecutions": 1, "chainExecutions": 1},
    }
    start, end = (datetime.fromisoformat(period[name]) for name in ("start", "end"))
    assert start <= datetime.now(UTC) < end
    assert start.day == end.day == 1 and 28 <= (end - start).days <= 31
    assert period["start"].endswith("-01T00:00:00.000Z")


def test_nothing_used(api: Api, carol: Any) -> None:
    usage = api.get("/billing/usage", headers=api.as_(carol)).json()["data"]
    assert (usage["used"], usage["limit"], usage["remaining"]) == (0, 100_000, 100_000)
    assert "warning" not in usage


@pytest.mark.parametrize(
    ("used", "percent", "remaining", "warning"),
    [(79, 79, 21, None), (80, 80, 20, "80% of monthly limit reached"), (130, 130, 0, "130% of monthly limit reached")],
)
def test_warning(api: Api, alice: Any, used: int, percent: int, remaining: int, warning: str | None) -> None:
    use(alice, used)
    usage = api.get("/billing/usage", headers=api.as_(alice)).json()["data"]
    assert (usage["percentUsed"], usage["remaining"], usage.get("warning")) == (percent, remaining, warning)


def test_a_failed_chain_is_released_from_both_counts(
    api: Api, alice: Any, upstream: Upstream, chains_worker: Any
) -> None:
    upstream.respond_with(Answer(status=500))
    api.execute_chain(alice, "code-review")
    usage = api.get("/billing/usage", headers=api.as_(alice)).json()["data"]
    assert (usage["used"], usage["breakdown"]["chainExecutions"]) == (0, 0)


def test_it_requires_a_sign_in(api: Api) -> None:
    assert error(api.get("/billing/usage")) == (401, "not_authenticated")
