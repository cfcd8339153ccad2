"""Tiers, and `manage.py set_tier`."""

from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from billing import services, tiers
from lunaos.errors import ValidationFailed
from testing.client import Api


@pytest.mark.parametrize(
    ("name", "executions", "requests_per_minute"), [("free", 100, 60), ("pro", 10_000, 600), ("team", 100_000, 6_000)]
)
def test_the_contracts_figures(name: str, executions: int, requests_per_minute: int) -> None:
    tier = tiers.of(name)
    assert (tier.executions, tier.requests_per_minute, tier.api_keys) == (executions, requests_per_minute, 5)


@pytest.mark.parametrize(
    ("tier", "required", "allowed"),
    [("free", "free", True), ("free", "pro", False), ("pro", "pro", True), ("team", "pro", True), ("x", "pro", False)],
)
def test_what_a_tier_allows(tier: str, required: str, allowed: bool) -> None:
    assert tiers.allows(tier, required) is allowed


def test_set_tier_counts_from_the_next_request_on(api: Api, alice: Any) -> None:
    headers = api.as_(alice)
    out = StringIO()
    call_command("set_tier", alice.email.upper(), "team", stdout=out)

    assert "is team now" in out.getvalue()
    response = api.get("/auth/me", headers=headers)
    assert response.json()["data"]["tier"] == "team"
    assert response.headers["X-RateLimit-Limit"] == "6000"


def test_set_tier_refuses_strangers_and_unknown_tiers(alice: Any) -> None:
    with pytest.raises(CommandError, match="no user"):
        call_command("set_tier", "nobody@example.com", "pro")
    with pytest.raises(CommandError, match="invalid choice"):
        call_command("set_tier", alice.email, "gold")
    with pytest.raises(ValidationFailed):
        services.set_tier(user=alice, tier="gold")
