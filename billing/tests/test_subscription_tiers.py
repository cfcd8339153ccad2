"""The table of BILLING.md: the tier of each status, by signed events over HTTP."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from billing import grants, tiers
from billing.models import MonthlyUsage, Tier
from billing.payments import plans, stripe_client, stripe_connection, stripe_mirror
from testing.stripe import Stripe

STATUSES = {
    **dict.fromkeys(("active", "trialing", "past_due"), "pro"),
    **dict.fromkeys(("incomplete", "incomplete_expired", "unpaid", "paused", "canceled"), "free"),
}


def days_ago(days: int) -> int:
    return int((datetime.now(UTC) - timedelta(days=days)).timestamp())


@pytest.mark.parametrize(("status", "tier"), STATUSES.items())
def test_statuses(stripe: Stripe, alice: Any, status: str, tier: str) -> None:
    subscription_id = stripe.subscribe(alice, "pro")
    stripe.double.set_status(subscription_id, status)
    assert stripe.reaches_status(alice, "none" if status in ("canceled", "incomplete_expired") else status)
    assert stripe.subscription_state(alice)["tier"] == stripe.tier(alice) == tier


def test_canceled_is_final(stripe: Stripe, alice: Any) -> None:
    subscription_id = stripe.subscribe(alice)
    old = stripe.double.events("customer.subscription.created")[0]["id"]
    stripe.double.set_status(subscription_id, "canceled")
    assert stripe.reaches_tier(alice, "free")
    stripe.double.deliver(old)
    assert stripe.tier(alice) == "free"


@pytest.mark.parametrize(("days", "tier"), [(20, "pro"), (22, "free")])
def test_a_payment_may_be_due_for_21_days(stripe: Stripe, alice: Any, days: int, tier: str) -> None:
    subscription_id = stripe.subscribe(alice)
    stripe.double.fail_payment(subscription_id, at=days_ago(days))
    assert stripe.reaches_status(alice, "past_due")
    assert stripe.tier(alice) == tier


def test_the_grace_is_counted_from_the_oldest_unpaid_invoice(stripe: Stripe, alice: Any) -> None:
    """Stripe starts a new period although the last one is unpaid: no new grace period."""
    subscription_id = stripe.subscribe(alice)
    stripe.stop_deliveries()
    stripe.double.fail_payment(subscription_id, at=days_ago(40))
    stripe.double.set_status(subscription_id, "past_due", period_start=days_ago(9), period_end=days_ago(-21))
    stripe.double.deliver(stripe.double.events("customer.subscription.updated")[-1]["id"])
    assert stripe.tier(alice) == "free"


def test_the_end_of_the_grace_needs_no_event(stripe: Stripe, alice: Any, settings: Any) -> None:
    subscription_id = stripe.subscribe(alice)
    stripe.double.fail_payment(subscription_id, at=days_ago(5))
    assert stripe.reaches_status(alice, "past_due")
    stripe.wait_for_deliveries()  # the server, where the grace is longer, would recalculate the tier
    settings.PAYMENT_GRACE = timedelta(days=4)
    grants.recalculate_due_tiers()
    assert stripe.tier(alice) == "free"


def test_a_payment_that_succeeds_after_all(stripe: Stripe, alice: Any) -> None:
    subscription_id = stripe.subscribe(alice)
    stripe.double.fail_payment(subscription_id, at=days_ago(30))
    assert stripe.reaches_tier(alice, "free")
    stripe.double.recover(subscription_id)
    assert stripe.reaches_tier(alice, "pro")

    stripe.double.fail_payment(subscription_id)  # another month: the old invoice is paid and does not count any more
    assert stripe.reaches_status(alice, "past_due")
    assert stripe.tier(alice) == "pro"


def test_an_unknown_price_gives_nothing(stripe: Stripe, alice: Any) -> None:
    subscription_id = stripe.subscribe(alice)
    product_id = stripe_client.create_product(tier="mystery", name="Mystery")
    price_id = stripe_client.create_price(
        product_id=product_id, tier="mystery", cents=100, lookup_key="mystery_monthly"
    )
    stripe.double.set_price(subscription_id, price_id)
    assert stripe.reaches_tier(alice, "free")
    assert set(stripe.double.delivered().values()) == {200}


def test_a_subscriber_of_an_earlier_price_keeps_the_tier(stripe: Stripe, alice: Any) -> None:
    """A new price takes the lookup key over; the old one names its tier in its metadata."""
    subscription_id = stripe.subscribe(alice)
    Tier.objects.filter(name="pro").update(price_usd=35)
    tiers.clear_cache()
    try:
        assert [plan.is_new for plan in plans.sync_plans()] == [True, False]
        stripe.double.end_period(subscription_id)
        assert stripe.reaches_tier(alice, "pro")
        assert stripe.subscription_state(alice)["status"] == "active"
    finally:
        Tier.objects.filter(name="pro").update(price_usd=29)
        tiers.clear_cache()


def test_two_subscriptions_give_the_higher_and_are_both_canceled(stripe: Stripe, alice: Any) -> None:
    first = stripe.checkout(alice, "pro")
    stripe.stop_deliveries()
    stripe.double.pay(first)
    customer = stripe_mirror.get_customer(alice)
    assert customer
    second = stripe_client.create_checkout(customer.id, stripe.price("team"), user_id=alice.pk, tier="team")
    stripe.double.pay(second.id)
    for made in stripe.double.events("customer.subscription.created"):
        stripe.double.deliver(made["id"])
    assert stripe.tier(alice) == "team"

    assert stripe.post(alice, "cancel").status_code == 200
    assert all(each.cancel_at_period_end for each in stripe_client.list_subscriptions(customer.id))


def test_a_test_subscription_gives_nothing_under_a_live_key(stripe: Stripe, alice: Any, settings: Any) -> None:
    stripe.subscribe(alice)
    stripe.wait_for_deliveries()
    settings.STRIPE_LIVE_MODE = True  # a live key has replaced the test key
    grants.recalculate_due_tiers()
    assert stripe.tier(alice) == "free" and stripe_mirror.get_customer(alice) is None


def test_subscriptions_count_without_a_key(stripe: Stripe, alice: Any, settings: Any) -> None:
    stripe.subscribe(alice)
    stripe.wait_for_deliveries()
    settings.STRIPE_KEY = ""
    assert grants.recalculate_tier(alice) == "pro"


def test_a_customer_deleted_at_stripe_has_nothing(stripe: Stripe, alice: Any) -> None:
    stripe.subscribe(alice)
    customer = stripe_mirror.get_customer(alice)
    assert customer
    stripe_connection.client().v1.customers.delete(customer.id)
    assert stripe.reaches_tier(alice, "free")


def test_a_change_of_tier_resets_the_months_warnings(stripe: Stripe, alice: Any) -> None:
    month = datetime.now(UTC).date().replace(day=1)
    usage = MonthlyUsage.objects.create(user=alice, month=month, executions=100, told_percent=100)
    stripe.subscribe(alice)
    usage.refresh_from_db()
    assert usage.told_percent == 0
