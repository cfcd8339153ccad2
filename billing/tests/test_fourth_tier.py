"""A tier that staff add in the admin works like the three that migrations bring."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from django.test import Client

from accounts.models import User
from agents.models import Agent
from billing import limits, tiers
from billing.models import Grant, Tier
from billing.payments import plans
from runs.models import Run
from testing.client import PASSWORD, Api, answer, error, takes_effect
from testing.stripe import Stripe

NAME = "enterprise"
FORM = {
    "name": NAME,
    "rank": "3",
    "price_usd": "499",
    "executions": "1000000",
    "requests_per_minute": "7777",
    "api_keys": "9",
    "executions_at_once": "90",
    "starts_per_hour": "9000",
    "stored_bytes": "500000000000",
    "repositories": "10000",
    "features": "Support by telephone",
    "lookup_key": "lunaos_enterprise_monthly",
}


@pytest.fixture
def enterprise(client: Client, make_user: Any, settings: Any) -> Iterator[Tier]:
    """Return a fourth tier, added by staff in the admin."""
    settings.STAFF_SECOND_FACTOR = False
    client.force_login(make_user("staff", is_staff=True, is_superuser=True))
    page = client.post("/admin/billing/tier/add/", FORM)
    assert page.status_code == 302, page.content.decode()
    tiers.clear_cache()
    yield Tier.objects.get(name=NAME)
    Grant.objects.filter(tier_id=NAME).delete()
    Tier.objects.filter(name=NAME).delete()
    tiers.clear_cache()


@pytest.fixture
def enterprise_agent(enterprise: Tier) -> Iterator[str]:
    """Return an agent that only the fourth tier may use."""
    agent = Agent.objects.exclude(slug="code-review").filter(tier="pro").order_by("slug").first()
    assert agent
    Agent.objects.filter(pk=agent.pk).update(tier=NAME)
    yield agent.slug
    Agent.objects.filter(pk=agent.pk).update(tier="pro")


def sign_up(api: Api) -> User:
    body = {"email": "dora@example.com", "password": PASSWORD}
    response = api.post("/auth/signup", json=body)
    assert response.status_code == 201, response.text
    return User.objects.get(email=body["email"])


def test_it_works(api: Api, upstream: Any, enterprise: Tier) -> None:
    """Sign up, be granted the tier, run an agent, and see the tier's limits and its texts' retention."""
    user = sign_up(api)
    call_command("set_tier", user.email, NAME)
    headers = api.as_(user)

    assert takes_effect(lambda: api.get("/auth/me", headers=headers).headers["X-RateLimit-Limit"] == "7777")
    assert api.get("/auth/me", headers=headers).json()["data"]["tier"] == NAME
    assert answer(api.execute(user)) == "Hello world"
    run = Run.objects.get(user=user)
    assert run.expires_at - run.created_at >= timedelta(days=90)
    usage = api.get("/billing/usage", headers=headers).json()["data"]
    assert (usage["tier"], usage["used"], usage["limit"]) == (NAME, 1, 1_000_000)
    user.refresh_from_db()
    assert limits.for_owner(user).repositories == 10_000
    assert limits.for_owner(user).api_keys == 9


def test_it_is_in_the_list_of_plans_and_on_the_front_page(api: Api, enterprise: Tier) -> None:
    def listed() -> list[str]:
        return [plan["tier"] for plan in api.get("/billing/plans").json()["data"]["plans"]]

    assert takes_effect(lambda: listed() == ["free", "pro", "team", NAME])
    assert api.get("/billing/plans").json()["data"]["plans"][-1]["onSale"] is True
    page = api.get("/").text
    assert NAME in page and "$499" in page and "Support by telephone" in page


def test_it_can_be_bought(stripe: Stripe, alice: Any, enterprise: Tier) -> None:
    plans.sync_plans()
    assert takes_effect(lambda: NAME in stripe.api.get("/billing/plans").text)
    stripe.subscribe(alice, NAME)
    assert stripe.subscription_state(alice)["tier"] == NAME


def test_an_agent_can_require_it(api: Api, upstream: Any, carol: Any, enterprise_agent: str) -> None:
    def refused() -> bool:
        return api.execute(carol, agent=enterprise_agent).status_code == 403

    assert takes_effect(refused)
    response = api.execute(carol, agent=enterprise_agent)
    assert error(response) == (403, "pro_required")
    assert response.json()["error"] == "Enterprise subscription required"
    catalogue = api.get("/agents/list").json()["data"]
    assert catalogue["tiers"][NAME] == 1
    assert sum(catalogue["tiers"].values()) == catalogue["total"]

    call_command("set_tier", carol.email, NAME)
    assert answer(api.execute(carol, agent=enterprise_agent)) == "Hello world"


@pytest.mark.parametrize(
    ("named", "days"),
    [
        ({"free": 30, "pro": 90, "team": 365}, 365),
        ({"free": 30, "pro": 90, "team": 365, NAME: 730}, 730),
        ({"free": 30}, 30),
    ],
)
def test_its_retention_is_its_own_or_that_of_the_next_lower_tier(
    enterprise: Tier, settings: Any, named: dict[str, int], days: int
) -> None:
    settings.RETENTION_DAYS = named
    assert tiers.retention_days(NAME) == days


def test_a_lower_tier_does_not_get_its_retention(enterprise: Tier, settings: Any) -> None:
    settings.RETENTION_DAYS = {"free": 30, NAME: 730}
    assert tiers.retention_days("team") == 30


def test_a_retention_of_a_tier_that_does_not_exist_is_refused(enterprise: Tier, settings: Any) -> None:
    settings.RETENTION_DAYS = {"free": 30, NAME: 730}
    tiers.check_settings()
    settings.RETENTION_DAYS = {"free": 30, "enterprize": 730}
    with pytest.raises(
        ImproperlyConfigured, match="enterprize, which is no tier: there are free, pro, team, enterprise"
    ):
        tiers.check_settings()
