"""`manage.py reconcile_billing` and the hourly task repair what no event reported."""

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
    stripe.stop_deliveries()
    stripe.double.pay(stripe.checkout(alice))  # no event arrives
    printed = reconcile()
    assert stripe.tier(alice) == "pro"
    assert "tier free -> pro" in printed and "1 customers differed, 0 payments." in printed
    event = AuditEvent.objects.get(action=Action.BILLING_RECONCILED, subject_id=alice.pk)
    assert list(event.details["after"].values()) == ["active"]


def test_nothing_differs(stripe: Stripe, alice: Any) -> None:
    stripe.subscribe(alice)
    stripe.wait_for_deliveries()
    asked = len(stripe.double.requests("/v1/subscriptions"))
    assert "0 customers differed, 0 payments." in reconcile()
    assert len(stripe.double.requests("/v1/subscriptions")) == asked + 1
    assert not AuditEvent.objects.filter(action=Action.BILLING_RECONCILED, subject_id=alice.pk).exists()


def test_an_end_without_an_event_is_found(stripe: Stripe, alice: Any) -> None:
    subscription_id = stripe.subscribe(alice)
    stripe.wait_for_deliveries()
    stripe.stop_deliveries()
    stripe_client.cancel_now(subscription_id)
    assert "tier pro -> free" in reconcile() and stripe.tier(alice) == "free"


def test_schedules_are_compared_too(stripe: Stripe, alice: Any) -> None:
    subscription_id = stripe.subscribe(alice)
    stripe.stop_deliveries()
    stripe_client.cancel_at_period_end(subscription_id)
    reconcile()
    assert stripe.subscription_state(alice)["subscription"]["cancelAtPeriodEnd"] is True


def test_a_customer_that_was_never_stored(stripe: Stripe, alice: Any) -> None:
    stripe.stop_deliveries()
    stripe.double.pay(stripe.checkout(alice))
    Customer.objects.all().delete()
    reconcile()
    assert stripe.tier(alice) == "pro"


def test_a_customer_without_a_user(stripe: Stripe, alice: Any) -> None:
    stripe.subscribe(alice)
    stripe.wait_for_deliveries()
    Customer.objects.all().delete()
    alice.delete()
    assert "1 customers differed, 0 payments." in reconcile()
    assert not Customer.objects.exists()


def test_a_subscription_missing_at_stripe_is_canceled(stripe: Stripe, alice: Any) -> None:
    stripe.subscribe(alice)
    stripe.wait_for_deliveries()
    stripe.double.reset()
    reconcile()
    assert stripe.tier(alice) == "free"


def test_a_failed_repair_does_not_stop_the_others(stripe: Stripe, alice: Any, bob: Any) -> None:
    first, second = stripe.subscribe(alice), stripe.subscribe(bob, "team")
    stripe.wait_for_deliveries()
    stripe.stop_deliveries()
    for subscription_id in (first, second):
        stripe_client.cancel_now(subscription_id)
    differences = reconciliation.reconcile()
    stripe.double.fault("/v1/subscriptions", status=500, times=1)  # the list itself, which is retried
    repaired = next(differences)
    stripe.double.fault("/v1/subscriptions", status=500, times=2)
    (failed,) = list(differences)
    assert (repaired.error, repaired.tier, bool(failed.error)) == ("", "free", True)
    assert "tier" in reconcile()
    assert {stripe.tier(alice), stripe.tier(bob)} == {"free"}


def test_stripe_is_down(stripe: Stripe, alice: Any) -> None:
    stripe.double.fault("/v1/subscriptions", status=500, times=4)
    with pytest.raises(CommandError, match="cannot be reached"):
        reconcile()
    beat.reconcile()  # the task logs and waits for the next hour


def test_without_stripe(database: None) -> None:
    with pytest.raises(CommandError, match="takes no payments"):
        reconcile()
    beat.reconcile()
