"""Tiers that staff grant: the higher of grant and subscription counts."""

from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import Any

import httpx
import pytest
from django.core.management import call_command

from accounts.auditlog.trail import Action
from accounts.models import AuditEvent
from billing import beat, grants
from billing.models import Grant
from billing.payments import stripe_client
from lunaos.errors import ValidationFailed
from testing.client import Api
from testing.stripe import Stripe


def tomorrow() -> datetime:
    return datetime.now(UTC) + timedelta(days=1)


def test_it_works(api: Api, alice: Any, bob: Any) -> None:
    grants.grant(user=alice, tier="team", until=tomorrow(), reason="A prize.", actor=bob)
    assert api.get("/auth/me", headers=api.as_(alice)).json()["data"]["tier"] == "team"
    event = AuditEvent.objects.get(subject_id=alice.pk, action=Action.TIER_GRANTED)
    assert (event.actor_id, event.details["tier"], event.details["reason"]) == (bob.pk, "team", "A prize.")


def test_the_end_is_enforced(alice: Any) -> None:
    granted = grants.grant(user=alice, tier="team", until=tomorrow(), reason="A prize.")
    Grant.objects.filter(pk=granted.pk).update(until=datetime.now(UTC) - timedelta(seconds=1))
    beat.recalculate_due_tiers()
    alice.refresh_from_db()
    granted.refresh_from_db()
    assert alice.tier == "free" and granted.ended_at is not None
    assert AuditEvent.objects.filter(subject_id=alice.pk, action=Action.TIER_CHANGED).count() == 2


def test_a_grant_without_an_end_continues(alice: Any) -> None:
    grants.grant(user=alice, tier="pro", reason="An employee.")
    beat.recalculate_due_tiers()
    alice.refresh_from_db()
    assert alice.tier == "pro"


def test_the_higher_of_grant_and_subscription_counts(stripe: Stripe, alice: Any) -> None:
    subscription_id = stripe.subscribe(alice, "pro")
    grants.grant(user=alice, tier="team", until=tomorrow(), reason="A trial.")
    assert stripe.tier(alice) == "team"
    stripe_client.cancel_now(subscription_id)
    assert stripe.reaches_status(alice, "none") and stripe.tier(alice) == "team"
    grants.end_grants(user=alice)
    assert stripe.tier(alice) == "free"


def test_a_lower_grant_does_not_lower_the_tier(stripe: Stripe, alice: Any) -> None:
    stripe.subscribe(alice, "team")
    grants.grant(user=alice, tier="pro", reason="By mistake.")
    assert stripe.tier(alice) == "team"


def test_set_tier_replaces_grants_and_keeps_the_subscription(stripe: Stripe, alice: Any) -> None:
    stripe.subscribe(alice, "pro")
    grants.grant(user=alice, tier="team", reason="A trial.")
    grants.set_tier(user=alice, tier="free")
    assert stripe.tier(alice) == "pro"


def test_the_command_says_that_a_paid_tier_stays(stripe: Stripe, alice: Any) -> None:
    stripe.subscribe(alice, "pro")
    out = StringIO()
    call_command("set_tier", alice.email, "free", stdout=out)
    assert f"{alice.email} stays pro: a subscription pays for it." in out.getvalue()


@pytest.mark.parametrize(
    ("fields", "field"),
    [({"tier": "gold"}, "tier"), ({"tier": "pro", "until": datetime(2020, 1, 1, tzinfo=UTC)}, "until")],
)
def test_invalid_grants_are_refused(alice: Any, fields: dict[str, Any], field: str) -> None:
    with pytest.raises(ValidationFailed) as e:
        grants.grant(user=alice, reason="?", **fields)
    assert e.value.extra["fields"][0]["field"] == field
    assert not Grant.objects.exists()


def post(staff: httpx.Client, path: str, **form: Any) -> httpx.Response:
    return staff.post(f"/admin/billing/grant/{path}", data={**form, "csrfmiddlewaretoken": staff.cookies["csrftoken"]})


def test_staff_grant_in_the_admin(staff: httpx.Client, alice: Any) -> None:
    end = tomorrow()
    form = {"user": str(alice.pk), "tier": "team", "reason": "A prize.", "until_0": f"{end:%Y-%m-%d}"}
    page = post(staff, "add/", **form, until_1=f"{end:%H:%M:%S}")
    alice.refresh_from_db()
    assert alice.tier == "team" and "A prize." in page.text
    granted = Grant.objects.get()
    assert granted.granted_by is not None and granted.granted_by.is_staff

    grants.grant(user=alice, tier="pro", reason="Another.")
    chosen = {"action": "end", "_selected_action": str(granted.pk)}
    assert "including grants that are not in this list" in post(staff, "", **chosen).text
    alice.refresh_from_db()
    assert alice.tier == "team"
    assert "2 grants have ended." in post(staff, "", **chosen, confirmed="yes").text
    assert "0 grants have ended." in post(staff, "", **chosen, confirmed="yes").text
    alice.refresh_from_db()
    assert alice.tier == "free"
    assert AuditEvent.objects.filter(subject_id=alice.pk, action=Action.TIER_GRANT_ENDED).count() == 1


def test_the_admin_form_shows_errors(staff: httpx.Client, alice: Any) -> None:
    form = {"user": str(alice.pk), "tier": "team", "reason": "?", "until_0": "2020-01-01", "until_1": "00:00:00"}
    assert "This time is in the past." in post(staff, "add/", **form).text
    assert not Grant.objects.exists()
