"""An account that is deleted and created again gets no new quota (R2.2, row 8)."""

from datetime import UTC, date, datetime
from typing import Any

import pytest

from accounts import services
from accounts.models import User
from accounts.privacy import deletion
from billing import usage_carryover
from billing.models import MonthlyUsage, UsageOfAddress
from testing.client import PASSWORD, Api, error
from testing.loopback.upstream import Upstream
from web.tasks import forget_expired

MONTH = datetime.now(UTC).date().replace(day=1)


@pytest.fixture(autouse=True)
def _empty(database: None) -> Any:
    yield
    UsageOfAddress.objects.all().delete()


def used(user: Any, executions: int, chains: int = 0, month: date = MONTH) -> None:
    MonthlyUsage.objects.create(user=user, month=month, executions=executions, chains=chains, told_percent=80)


def again(email: str) -> User:
    return services.sign_up(email=email, password=PASSWORD, name="")


def test_it_works(api: Api, alice: Any, upstream: Upstream) -> None:
    used(alice, 99, chains=3)
    assert api.execute(alice).headers["X-Usage-Remaining"] == "0"
    gone = api.request("DELETE", "/auth/me", json={"password": PASSWORD}, headers=api.as_(alice))
    assert gone.is_success

    made = api.post("/auth/signup", json={"email": alice.email.upper(), "password": PASSWORD})
    own = {"Authorization": f"Bearer {made.json()['data']['token']}"}
    usage = api.get("/billing/usage", headers=own).json()["data"]
    assert (usage["used"], usage["breakdown"]) == (100, {"agentExecutions": 97, "chainExecutions": 3})
    body = {"agent": "code-review", "context": "x"}
    assert error(api.post("/agents/execute", json=body, headers=own)) == (403, "quota_exceeded")


def test_usage_carries_over_several_accounts(alice: Any) -> None:
    used(alice, 60)
    assert deletion.delete_account(alice)
    second = again(alice.email)
    MonthlyUsage.objects.filter(user=second).update(executions=80)
    assert deletion.delete_account(second)
    assert MonthlyUsage.objects.get(user=again(alice.email)).executions == 80


def test_the_address_cannot_be_read_from_it(alice: Any, settings: Any) -> None:
    used(alice, 5)
    deletion.delete_account(alice)
    kept = UsageOfAddress.objects.get()
    assert alice.email not in str(vars(kept)) and len(kept.digest) == 64
    settings.SECRET_KEY_FALLBACKS, settings.SECRET_KEY = [settings.SECRET_KEY], "another secret of the server" * 3
    assert usage_carryover._digest(alice.email, settings.SECRET_KEY) != kept.digest
    assert MonthlyUsage.objects.get(user=again(alice.email)).executions == 5  # the older secret is still configured


def test_other_addresses_and_months_start_at_zero(alice: Any, bob: Any) -> None:
    used(alice, 7, month=date(2020, 1, 1))
    used(bob, 7)
    deletion.delete_account(alice)
    deletion.delete_account(bob)
    assert UsageOfAddress.objects.count() == 1
    assert not MonthlyUsage.objects.filter(user=again(alice.email)).exists()


def test_it_is_deleted_at_the_months_end(database: None) -> None:
    for month in (date(2020, 1, 1), MONTH):
        UsageOfAddress.objects.create(digest="d", month=month, executions=1, chains=0, told_percent=0)
    forget_expired()
    assert [kept.month for kept in UsageOfAddress.objects.all()] == [MONTH]
