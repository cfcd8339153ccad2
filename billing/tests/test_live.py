"""The walk once more, at Stripe itself: with a test key of an account of one's own in LUNAOS_STRIPE_TEST_KEY.

    LUNAOS_STRIPE_TEST_KEY=sk_test_… make test ARGS="-m stripe_account -n 0 billing/tests/test_live.py"

A card cannot be typed into Stripe's page by a program, so the subscription is made with one of Stripe's test cards, and
all else as customers do it.
"""

import os
from typing import Any

import pytest
from django.db import transaction

from billing.payments import (
    checkout,
    customers,
    plans,
    reconciliation,
    stripe_client,
    subscription_state,
    subscriptions,
    sync,
)
from lunaos import safety

KEY = os.environ.get("LUNAOS_STRIPE_TEST_KEY", "")

pytestmark = [
    pytest.mark.stripe_account,
    pytest.mark.skipif(
        not KEY or safety.is_live_key(KEY), reason="LUNAOS_STRIPE_TEST_KEY holds no test key of Stripe's"
    ),
]


@pytest.fixture
def account(settings: Any) -> Any:
    settings.STRIPE_KEY = KEY
    settings.STRIPE_HOST = safety.STRIPE_HOST
    return stripe_client._client().v1


def sync_with(customer_id: str) -> None:
    with transaction.atomic():
        sync.customer(customer_id)


def test_the_walk(account: Any, alice: Any) -> None:
    plans.sync_plans()
    assert [plan.made for plan in plans.sync_plans()] == [False] * len(plans.on_sale())
    assert checkout.start(user=alice, tier="pro").url.startswith("https://checkout.stripe.com/")
    customer_id = customers.ensure(alice).id
    try:
        card = account.payment_methods.attach("pm_card_visa", {"customer": customer_id})
        account.customers.update(customer_id, {"invoice_settings": {"default_payment_method": card.id}})
        price_id = plans.price_of("pro")
        account.subscriptions.create({"customer": customer_id, "items": [{"price": price_id}]})
        sync_with(customer_id)
        assert tier_of(alice) == "pro"

        assert subscriptions.change(user=alice, tier="team").at is None
        assert tier_of(alice) == "team"
        assert subscriptions.change(user=alice, tier="pro").at is not None
        assert tier_of(alice) == "team"
        subscriptions.cancel(alice)
        assert cancels(alice)
        subscriptions.resume(alice)
        assert not cancels(alice)
        assert not [each for each in reconciliation.run() if each.customer_id == customer_id]

        for subscription in stripe_client.subscriptions(customer_id):
            stripe_client.cancel_now(subscription.id)
        sync_with(customer_id)
        assert tier_of(alice) == "free"
    finally:
        account.customers.delete(customer_id)


def tier_of(user: Any) -> str:
    user.refresh_from_db(fields=["tier"])
    return str(user.tier)


def cancels(user: Any) -> bool:
    mine = subscription_state.shown(subscription_state.of_user(user))
    return bool(mine and mine.cancels)
