"""The subscription lifecycle at Stripe itself, with a test key of your own account.

LUNAOS_STRIPE_TEST_KEY=sk_test_… make test ARGS="-m stripe_account -n 0 billing/tests/test_live.py"

A program cannot type a card into Stripe's page, so one of Stripe's test cards creates the subscription. Everything else
happens as customers do it.
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
    stripe_connection,
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
    return stripe_connection.client().v1


def sync_with(customer_id: str) -> None:
    with transaction.atomic():
        sync.sync_customer(customer_id)


def test_the_subscription_lifecycle(account: Any, alice: Any) -> None:
    plans.sync_plans()
    assert [plan.is_new for plan in plans.sync_plans()] == [False] * len(plans.list_tiers_on_sale())
    assert checkout.start(user=alice, tier="pro").url.startswith("https://checkout.stripe.com/")
    customer_id = customers.get_or_create(alice).id
    try:
        card = account.payment_methods.attach("pm_card_visa", {"customer": customer_id})
        account.customers.update(customer_id, {"invoice_settings": {"default_payment_method": card.id}})
        price_id = plans.get_price_id("pro")
        account.subscriptions.create({"customer": customer_id, "items": [{"price": price_id}]})
        sync_with(customer_id)
        assert tier_of(alice) == "pro"

        assert subscriptions.change(user=alice, tier="team").effective_at is None
        assert tier_of(alice) == "team"
        assert subscriptions.change(user=alice, tier="pro").effective_at is not None
        assert tier_of(alice) == "team"
        subscriptions.cancel(alice)
        assert cancels(alice)
        subscriptions.resume(alice)
        assert not cancels(alice)
        assert not [each for each in reconciliation.reconcile() if each.customer_id == customer_id]

        for subscription in stripe_client.list_subscriptions(customer_id):
            stripe_client.cancel_now(subscription.id)
        sync_with(customer_id)
        assert tier_of(alice) == "free"
    finally:
        account.customers.delete(customer_id)


def tier_of(user: Any) -> str:
    user.refresh_from_db(fields=["tier"])
    return str(user.tier)


def cancels(user: Any) -> bool:
    current = subscription_state.select_current(subscription_state.list_for_user(user))
    return bool(current and current.cancels)
