"""BILLING.md's table: which state at Stripe gives which tier, by signed events over HTTP."""

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
    assert stripe.status_becomes(alice, "none" if status in ("canceled", "incomplete_expired") else status)
    assert stripe.standing(alice)["tier"] == stripe.tier(alice) == tier


def test_canceled_is_final(stripe: Stripe, alice: Any) -> None:
    subscription_id = stripe.subscribe(alice)
    old = stripe.double.events("customer.subscription.created")[0]["id"]
    stripe.double.set_status(subscription_id, "canceled")
    assert stripe.becomes(alice, "free")
    stripe.double.deliver(old)
    assert stripe.tier(alice) == "free"


@pytest.mark.parametrize(("days", "tier"), [(20, "pro"), (22, "free")])
def test_a_payment_may_be_due_for_21_days(stripe: Stripe, alice: Any, days: int, tier: str) -> None:
    subscription_id = stripe.subscribe(alice)
    stripe.double.fail_payment(subscription_id, at=days_ago(days))
    assert stripe.status_becomes(alice, "past_due")
    assert stripe.tier(alice) == tier


def test_the_grace_is_counted_from_the_oldest_unpaid_invoice(stripe: Stripe, alice: Any) -> None:
    """Stripe begins a new period also where the last one is not paid: that is no new grace."""
    subscription_id = stripe.subscribe(alice)
    stripe.by_hand()
    stripe.double.fail_payment(subscription_id, at=days_ago(40))
    stripe.double.set_status(subscription_id, "past_due", period_start=days_ago(9), period_end=days_ago(-21))
    stripe.double.deliver(stripe.double.events("customer.subscription.updated")[-1]["id"])
    assert stripe.tier(alice) == "free"


def test_the_end_of_the_grace_needs_no_event(stripe: Stripe, alice: Any, settings: Any) -> None:
    subscription_id = stripe.subscribe(alice)
    stripe.double.fail_payment(subscription_id, at=days_ago(5))
    assert stripe.status_becomes(alice, "past_due")
    settings.PAYMENT_GRACE = timedelta(days=4)
    grants.recalculate_due_tiers()
    assert stripe.tier(alice) == "free"


def test_a_payment_that_succeeds_after_all(stripe: Stripe, alice: Any) -> None:
    subscription_id = stripe.subscribe(alice)
    stripe.double.fail_payment(subscription_id, at=days_ago(30))
    assert stripe.becomes(alice, "free")
    stripe.double.recover(subscription_id)
    assert stripe.becomes(alice, "pro")

    stripe.double.fail_payment(subscription_id)  # another month: the old invoice is paid and counts no more
    assert stripe.status_becomes(alice, "past_due")
    assert stripe.tier(alice) == "pro"


def test_an_unknown_price_gives_nothing(stripe: Stripe, alice: Any) -> None:
    subscription_id = stripe.subscribe(alice)
    product_id = stripe_client.create_product(tier="mystery", name="Mystery")
    price_id = stripe_client.create_price(
        product_id=product_id, tier="mystery", cents=100, lookup_key="mystery_monthly"
    )
    stripe.double.set_price(subscription_id, price_id)
    assert stripe.becomes(alice, "free")
    assert set(stripe.double.delivered().values()) == {200}


def test_whoever_pays_an_earlier_price_keeps_the_tier(stripe: Stripe, alice: Any) -> None:
    """A new price takes the lookup key over; the old one still says what it was made for."""
    subscription_id = stripe.subscribe(alice)
    Tier.objects.filter(name="pro").update(price_usd=35)
    tiers.clear_cache()
    try:
        assert [plan.is_new for plan in plans.sync_plans()] == [True, False]
        stripe.double.end_period(subscription_id)
        assert stripe.becomes(alice, "pro")
        assert stripe.standing(alice)["status"] == "active"
    finally:
        Tier.objects.filter(name="pro").update(price_usd=29)
        tiers.clear_cache()


def test_two_subscriptions_give_the_higher_and_are_both_canceled(stripe: Stripe, alice: Any) -> None:
    first = stripe.checkout(alice, "pro")
    stripe.by_hand()
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


def test_play_money_gives_nothing_where_real_money_moves(stripe: Stripe, alice: Any, settings: Any) -> None:
    stripe.subscribe(alice)
    stripe.told()
    settings.STRIPE_LIVE_MODE = True  # a live key took the place of the test key
    grants.recalculate_due_tiers()
    assert stripe.tier(alice) == "free" and stripe_mirror.get_customer(alice) is None


def test_without_a_key_what_was_paid_for_stays(stripe: Stripe, alice: Any, settings: Any) -> None:
    stripe.subscribe(alice)
    stripe.told()
    settings.STRIPE_KEY = ""
    assert grants.recalculate_tier(alice) == "pro"


def test_a_customer_deleted_at_stripe_has_nothing(stripe: Stripe, alice: Any) -> None:
    stripe.subscribe(alice)
    customer = stripe_mirror.get_customer(alice)
    assert customer
    stripe_connection.client().v1.customers.delete(customer.id)
    assert stripe.becomes(alice, "free")


def test_with_another_tier_the_months_marks_come_anew(stripe: Stripe, alice: Any) -> None:
    month = datetime.now(UTC).date().replace(day=1)
    usage = MonthlyUsage.objects.create(user=alice, month=month, executions=100, told_percent=100)
    stripe.subscribe(alice)
    usage.refresh_from_db()
    assert usage.told_percent == 0
