"""Tiers, and `manage.py set_tier`."""

from io import StringIO
from typing import Any

import httpx
import pytest
from django.core.management import CommandError, call_command
from django.db import IntegrityError, transaction

from accounts.models import AuditEvent, User
from billing import grants, limits, tiers
from billing.models import Tier
from lunaos.errors import ValidationFailed
from testing.client import Api, takes_effect


@pytest.mark.parametrize(
    ("name", "executions", "requests_per_minute"), [("free", 100, 60), ("pro", 10_000, 600), ("team", 100_000, 6_000)]
)
def test_the_contracts_figures(database: None, name: str, executions: int, requests_per_minute: int) -> None:
    tier = tiers.get(name)
    assert (tier.executions, tier.requests_per_minute, tier.api_keys) == (executions, requests_per_minute, 5)


@pytest.mark.parametrize(
    ("name", "stored_bytes", "repositories"), [("free", 10**8, 5), ("pro", 5 * 10**9, 100), ("team", 5 * 10**10, 1_000)]
)
def test_the_contracts_bounds_of_storage(
    api: Api, database: None, name: str, stored_bytes: int, repositories: int
) -> None:
    plans = {plan["tier"]: plan for plan in api.get("/billing/plans").json()["data"]["plans"]}
    assert (plans[name]["storedBytes"], plans[name]["repositories"]) == (stored_bytes, repositories)
    tier = limits.for_owner(User(tier=name))
    assert (tier.stored_bytes, tier.repositories) == (stored_bytes, repositories)


@pytest.mark.parametrize(
    ("tier", "required", "allowed"),
    [("free", "free", True), ("free", "pro", False), ("pro", "pro", True), ("team", "pro", True), ("x", "pro", False)],
)
def test_a_tier_allows_agents_of_lower_tiers(database: None, tier: str, required: str, allowed: bool) -> None:
    assert tiers.allows(tier, required) is allowed


def test_set_tier_counts_from_the_next_request_on(api: Api, alice: Any) -> None:
    headers = api.as_(alice)
    out = StringIO()
    call_command("set_tier", alice.email.upper(), "team", stdout=out)

    assert "is on team now" in out.getvalue()
    response = api.get("/auth/me", headers=headers)
    assert response.json()["data"]["tier"] == "team"
    assert response.headers["X-RateLimit-Limit"] == "6000"


def test_set_tier_refuses_strangers_and_unknown_tiers(alice: Any) -> None:
    with pytest.raises(CommandError, match="no user"):
        call_command("set_tier", "nobody@example.com", "pro")
    with pytest.raises(CommandError, match="invalid choice"):
        call_command("set_tier", alice.email, "gold")
    with pytest.raises(ValidationFailed):
        grants.set_tier(user=alice, tier="gold")


def test_a_change_by_staff_counts_within_seconds(api: Api, alice: Any) -> None:
    tier = Tier.objects.filter(name="free")
    tier.update(executions=7, requests_per_minute=33)
    try:
        assert takes_effect(lambda: api.get("/auth/me", headers=api.as_(alice)).headers["X-RateLimit-Limit"] == "33")
        assert api.get("/billing/usage", headers=api.as_(alice)).json()["data"]["limit"] == 7
    finally:
        tier.update(executions=100, requests_per_minute=60)
        tiers.clear_cache()
    assert takes_effect(lambda: api.get("/auth/me", headers=api.as_(alice)).headers["X-RateLimit-Limit"] == "60")


def test_a_change_of_tier_is_in_the_audit_trail(alice: Any, bob: Any) -> None:
    grants.set_tier(user=alice, tier="pro", actor=bob)
    event = AuditEvent.objects.get(subject_id=alice.pk, action="tier.changed")
    assert (event.action, event.actor_id, event.details) == (
        *("tier.changed", bob.pk),
        {"before": "free", "after": "pro"},
    )


@pytest.mark.parametrize(
    ("name", "changed", "expected"),
    [
        ("free", {"rank": "9"}, "its rank is 0"),
        ("free", {"price_usd": "5"}, "costs nothing"),
        ("team", {"rank": "0"}, "Tier with this Rank already exists."),
        ("team", {"price_usd": "-1"}, "greater than or equal to 0"),
        ("team", {"lookup_key": "lunaos_pro_monthly"}, "The tier pro has this one"),
    ],
)
def test_invalid_tiers_are_refused(
    client: Any, make_user: Any, settings: Any, name: str, changed: Any, expected: str
) -> None:
    settings.STAFF_SECOND_FACTOR = False
    client.force_login(make_user("staff", is_staff=True, is_superuser=True))
    before = Tier.objects.filter(pk=name).values().get()
    form = {**before, "features": ",".join(before["features"]), **changed}
    page = client.post(f"/admin/billing/tier/{name}/change/", form)
    assert page.status_code == 200 and expected in page.content.decode()
    with (
        pytest.raises(IntegrityError),
        transaction.atomic(),
    ):  # so does the database, except a price of free
        Tier.objects.filter(pk=name).update(**changed if "price_usd" not in changed else {"price_usd": -1})
    assert Tier.objects.filter(pk=name).values().get() == before


def test_staff_change_tiers_but_keep_their_names(staff: httpx.Client, database: None) -> None:
    page = staff.get("/admin/billing/tier/pro/change/").text
    assert 'name="executions"' in page and 'name="name"' not in page
    assert staff.get("/admin/billing/tier/pro/delete/").status_code == 403
    assert "monthly usage" in staff.get("/admin/billing/monthlyusage/").text
