"""A page of the admin costs as many queries with thirty rows as with two."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.contrib import admin
from django.contrib.auth.models import Group
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from djstripe.models import Customer, Invoice, Subscription

from accounts.auditlog import trail
from accounts.auditlog.trail import Action
from agents.models import Agent, LanguageModel, ProviderKey
from apikeys.models import ApiKey
from billing import tiers
from billing.models import Grant, MonthlyUsage, Tier, WebhookEvent
from chains.models import ChainPreset
from lunaos.infra import ttl_cache
from rag.models import IndexJob, Repository
from refusals.models import Refusal
from runs import stats
from runs.models import Status
from runs.tests.test_stats import add_run

FEW, MANY = 2, 30
Make = Callable[[Any, int], Any]


def key(user: Any, n: int) -> ApiKey:
    return ApiKey.objects.create(user=user, name=f"key {n}", prefix=f"lnos_{n}", digest=uuid4().hex, scopes=[])


def repository(user: Any, n: int) -> Repository:
    return Repository.objects.create(user=user, name=f"repository-{n}", model="model")


def job(user: Any, n: int) -> IndexJob:
    return IndexJob.objects.create(repository=repository(user, n), kind="upload")


def run(user: Any, n: int) -> Any:
    status = Status.FAILED if n % 2 else Status.SUCCEEDED
    return add_run(user, datetime.now(UTC) - timedelta(minutes=n), agent=f"agent-{n}", status=status, first_token_ms=n)


def event(user: Any, n: int) -> None:
    trail.record_on_commit(Action.RUN_REFUSED, actor=user, subject=user, n=n)


def customer(user: Any) -> Customer:
    return Customer.objects.create(id=f"cus_{user.pk}", subscriber=user, email=user.email)


def subscription(user: Any, n: int) -> Subscription:
    item = {"price": {"lookup_key": "lunaos_pro_monthly"}, "current_period_start": n, "current_period_end": n + 1}
    data = {"status": "past_due", "created": n, "cancel_at": None, "cancel_at_period_end": False}
    data |= {"items": {"data": [item]}}
    return Subscription.objects.create(id=f"sub_{user.pk}", customer=customer(user), stripe_data=data)


def invoice(user: Any, n: int) -> Invoice:
    data = {"status": "open", "tier": "pro", "amount_due": n, "amount_paid": 0, "attempt_count": 1}
    return Invoice.objects.create(id=f"in_{user.pk}", customer=customer(user), stripe_data=data)


def refusal(user: Any, n: int) -> Refusal:
    """Return a refusal of this minute, by a key where `n` is odd."""
    key_id = uuid4() if n % 2 else None
    minute = datetime.now(UTC).replace(second=0, microsecond=0)
    return Refusal.objects.create(
        user=user, minute=minute, key_id=key_id, code="pro_required", count=n + 1, last_request_id=f"request-{n}"
    )


def provider_key(user: Any, n: int) -> ProviderKey:
    return ProviderKey.objects.create(
        user=user, provider=f"p{n}", sealed="", last_four="1234", set_at=datetime.now(UTC)
    )


MAKE: dict[str, Make] = {
    "accounts/user": lambda user, n: None,  # each row of the others has a user of its own
    "accounts/auditevent": event,
    "apikeys/apikey": key,
    "agents/agent": lambda user, n: Agent.objects.create(
        slug=f"more-{n}", name="x", role="x", prompt="x", tier="free", position=n
    ),
    "agents/languagemodel": lambda user, n: LanguageModel.objects.create(provider="openai", name=f"more-{n}"),
    "agents/providerkey": provider_key,
    "chains/chainpreset": lambda user, n: ChainPreset.objects.create(
        slug=f"more-{n}", name="x", description="x", steps=["seo", "auth"], position=n
    ),
    "auth/group": lambda user, n: Group.objects.create(name=f"more-{n}"),
    "billing/grant": lambda user, n: Grant.objects.create(user=user, tier_id="pro", reason=f"reason {n}"),
    "billing/webhookevent": lambda user, n: WebhookEvent.objects.create(
        id=f"evt_{user.pk}", kind="invoice.paid", customer_id=f"cus_{n}", made_at=datetime.now(UTC)
    ),
    "djstripe/subscription": subscription,
    "djstripe/invoice": invoice,
    "billing/monthlyusage": lambda user, n: MonthlyUsage.objects.create(user=user, month=datetime(2026, 1, 1)),
    "billing/tier": lambda user, n: Tier.objects.create(
        name=f"more-{n}", rank=100 + n, price_usd=1, executions=1, requests_per_minute=1, api_keys=1
    ),
    "rag/repository": repository,
    "rag/indexjob": job,
    "refusals/refusal": refusal,
    "runs/run": run,
}


@pytest.fixture
def staff_client(make_user: Any, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Client:
    monkeypatch.setattr(ttl_cache, "TTL_S", 3600)  # whether one is read anew is a matter of seconds
    settings.STAFF_SECOND_FACTOR = False
    client = Client()
    client.force_login(
        make_user("staff", is_staff=True, is_superuser=True), backend="django.contrib.auth.backends.ModelBackend"
    )
    return client


def queries(client: Client, path: str) -> int:
    client.get(path)  # the first one fills caches
    tiers.list_all()  # known for a moment only, which the first one may have outlasted
    with CaptureQueriesContext(connection) as captured:
        assert client.get(path).status_code == 200
    return len(captured)


def test_no_list_is_left_out() -> None:
    assert {f"{model._meta.app_label}/{model._meta.model_name}" for model in admin.site._registry} == set(MAKE)


@pytest.mark.parametrize("page", MAKE)
def test_lists(staff_client: Client, make_user: Any, page: str) -> None:
    path, made = f"/admin/{page}/", [MAKE[page](make_user(), n) for n in range(FEW)]
    before = queries(staff_client, path)
    try:
        made += [MAKE[page](make_user(), n) for n in range(FEW, MANY)]
        assert queries(staff_client, path) == before <= 15
    finally:
        if page in (
            "agents/agent",
            "agents/languagemodel",
            "chains/chainpreset",
            "auth/group",
            "billing/tier",
        ):  # no user's, so they would stay
            for row in made:
                row.delete()


@pytest.mark.parametrize("span", ["24h", "7d", "30d"])
def test_the_dashboard(staff_client: Client, make_user: Any, span: str) -> None:
    path = f"/admin/?range={span}"
    for n in range(FEW):
        run(make_user(), n)
    stats.count_changed_hours()
    before = queries(staff_client, path)
    for n in range(FEW, MANY):
        run(make_user(), n)
    stats.count_changed_hours()
    assert queries(staff_client, path) == before <= 20
