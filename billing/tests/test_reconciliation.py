"""`manage.py reconcile_billing`, and the hourly task: what events did not tell."""

from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from djstripe.models import Customer

from accounts.auditlog.trail import Action
from accounts.models import AuditEvent
from billing import beat
from billing.payments import reconciliation, stripe_client
from testing.stripe import Stripe


def reconcile() -> str:
    out = StringIO()
    call_command("reconcile_billing", stdout=out)
    return out.getvalue()


def test_it_works(stripe: Stripe, alice: Any, bob: Any) -> None:
    stripe.by_hand()
    stripe.double.pay(stripe.checkout(alice))  # no event arrives
    printed = reconcile()
    assert stripe.tier(alice) == "pro"
    assert "tier free -> pro" in printed and "1 customers differed." in printed
    event = AuditEvent.objects.get(action=Action.BILLING_RECONCILED, subject_id=alice.pk)
    assert list(event.details["after"].values()) == ["active"]


def test_nothing_differs(stripe: Stripe, alice: Any) -> None:
    stripe.subscribe(alice)
    stripe.told()
    asked = len(stripe.double.requests("/v1/subscriptions"))
    assert "0 customers differed." in reconcile()
    assert len(stripe.double.requests("/v1/subscriptions")) == asked + 1
    assert not AuditEvent.objects.filter(action=Action.BILLING_RECONCILED, subject_id=alice.pk).exists()


def test_an_end_that_no_event_has_told_of(stripe: Stripe, alice: Any) -> None:
    subscription_id = stripe.subscribe(alice)
    stripe.told()
    stripe.by_hand()
    stripe_client.cancel_now(subscription_id)
    assert "tier pro -> free" in reconcile() and stripe.tier(alice) == "free"


def test_what_is_planned_is_compared_too(stripe: Stripe, alice: Any) -> None:
    subscription_id = stripe.subscribe(alice)
    stripe.by_hand()
    stripe_client.cancel_at_period_end(subscription_id)
    reconcile()
    assert stripe.standing(alice)["subscription"]["cancelAtPeriodEnd"] is True


def test_a_customer_who_was_never_stored(stripe: Stripe, alice: Any) -> None:
    stripe.by_hand()
    stripe.double.pay(stripe.checkout(alice))
    Customer.objects.all().delete()
    reconcile()
    assert stripe.tier(alice) == "pro"


def test_a_customer_who_is_nobody(stripe: Stripe, alice: Any) -> None:
    stripe.subscribe(alice)
    stripe.told()
    Customer.objects.all().delete()
    alice.delete()
    assert "1 customers differed." in reconcile()
    assert not Customer.objects.exists()


def test_what_stripe_has_forgotten_is_over(stripe: Stripe, alice: Any) -> None:
    stripe.subscribe(alice)
    stripe.told()
    stripe.double.reset()
    reconcile()
    assert stripe.tier(alice) == "free"


def test_one_that_cannot_be_mended_does_not_hold_up_the_others(stripe: Stripe, alice: Any, bob: Any) -> None:
    first, second = stripe.subscribe(alice), stripe.subscribe(bob, "team")
    stripe.told()
    stripe.by_hand()
    for subscription_id in (first, second):
        stripe_client.cancel_now(subscription_id)
    differences = reconciliation.reconcile()
    stripe.double.fault("/v1/subscriptions", status=500, times=1)  # the list itself, which is asked for again
    mended = next(differences)
    stripe.double.fault("/v1/subscriptions", status=500, times=2)
    (failed,) = list(differences)
    assert (mended.error, mended.tier, bool(failed.error)) == ("", "free", True)
    assert "tier" in reconcile()
    assert {stripe.tier(alice), stripe.tier(bob)} == {"free"}


def test_stripe_is_down(stripe: Stripe, alice: Any) -> None:
    stripe.double.fault("/v1/subscriptions", status=500, times=4)
    with pytest.raises(CommandError, match="cannot be reached"):
        reconcile()
    beat.reconcile()  # and waits for the next hour


def test_without_stripe(database: None) -> None:
    with pytest.raises(CommandError, match="takes no payments"):
        reconcile()
    beat.reconcile()
