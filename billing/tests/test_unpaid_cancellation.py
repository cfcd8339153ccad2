"""A subscription that is canceled while a payment is due: no answer claims that it is paid."""

from typing import Any

import pytest

from billing.payments import plans, subscription_state, subscriptions
from testing.stripe import LocalStripe


def subscribe(local_stripe: LocalStripe, user: Any, status: str) -> str:
    """Return a subscription with a status at Stripe."""
    local_stripe.subscribe(user)
    [subscription] = subscription_state.list_for_user(user)
    local_stripe.double.set_status(subscription.id, status)
    local_stripe.deliver()
    return subscription.id


def test_it_works(local_stripe: LocalStripe, alice: Any) -> None:
    local_stripe.subscribe(alice)
    canceled = subscriptions.cancel(alice)
    assert canceled.message == f"The subscription ends on {canceled.ends_at:%Y-%m-%d}, when the paid period ends."


@pytest.mark.parametrize("status", ["past_due", "unpaid"])
def test_an_unpaid_one(local_stripe: LocalStripe, alice: Any, status: str) -> None:
    subscribe(local_stripe, alice, status)
    message = subscriptions.cancel(alice).message
    assert "is not paid" in message and "paid period" not in message
    assert subscription_state.get_state(alice).status == status


def test_one_that_was_never_paid_ends_at_once(local_stripe: LocalStripe, alice: Any) -> None:
    subscribe(local_stripe, alice, "incomplete")
    assert subscriptions.cancel(alice).message == "The subscription has ended. It was never paid."
    assert subscription_state.get_state(alice).status == subscription_state.NO_SUBSCRIPTION


def test_a_downgrade_of_an_unpaid_one(local_stripe: LocalStripe, alice: Any) -> None:
    subscribe(local_stripe, alice, "past_due")
    local_stripe.double.set_price(subscription_state.list_for_user(alice)[0].id, plans.get_price_id("team"))
    assert "paid" not in subscriptions.change(user=alice, tier="pro").message
