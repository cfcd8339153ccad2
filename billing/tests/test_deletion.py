"""Delete an account with a subscription.

The subscription is canceled at Stripe, then the customer is anonymised; ids and amounts stay for accounting.
"""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from django.core import serializers
from django.db import transaction
from djstripe.models import Customer, Invoice

from accounts import tasks
from accounts.models import User
from accounts.privacy import deletion
from billing.errors import BillingUnavailable
from billing.payments import stripe_client, stripe_connection, sync
from testing.client import PASSWORD, Api, error
from testing.stripe import Stripe


def delete(stripe: Stripe, user: Any) -> Any:
    return stripe.api.request("DELETE", "/auth/me", json={"password": PASSWORD}, headers=stripe.api.as_(user))


def test_it_works(stripe: Stripe, alice: Any) -> None:
    subscription_id = stripe.subscribe(alice)
    stripe.wait_for_deliveries()
    customer_id = Customer.objects.get(subscriber=alice).id
    assert delete(stripe, alice).json()["data"]["message"] == "The account is deleted."

    (subscription,) = stripe_client.list_subscriptions(customer_id)
    assert (subscription.id, subscription.status) == (subscription_id, "canceled")
    stripe.wait_for_deliveries()  # until the event of the end has arrived, too
    customer = Customer.objects.get(id=customer_id)
    assert (customer.email, customer.subscriber, customer.stripe_data) == ("", None, {})
    kept = serializers.serialize("json", [customer, *Invoice.objects.all(), *customer.subscriptions.all()])
    assert alice.email not in kept and str(alice.pk) not in kept
    assert Invoice.objects.get(customer=customer).stripe_data["amount_paid"] == 2900


def test_stripe_is_down(stripe: Stripe, alice: Any) -> None:
    stripe.subscribe(alice)
    stripe.wait_for_deliveries()
    stripe.double.fault("/v1/", status=500, times=20)
    assert "will be deleted shortly" in delete(stripe, alice).json()["data"]["message"]
    assert User.objects.filter(pk=alice.pk, is_active=False).exists()

    stripe.double.reset()
    deletion.finish_all()
    assert not User.objects.filter(pk=alice.pk).exists()


def test_an_open_checkout_page_is_expired(stripe: Stripe, alice: Any) -> None:
    session_id = stripe.checkout(alice)
    delete(stripe, alice)
    assert stripe_client.retrieve_checkout(session_id).status == "expired"


def test_a_subscription_paid_during_deletion_is_canceled(stripe: Stripe, alice: Any) -> None:
    """The user pays while the account is being deleted."""
    stripe.checkout(alice)
    customer_id = Customer.objects.get().id
    delete(stripe, alice)
    late = stripe_client.create_checkout(customer_id, stripe.price("pro"), user_id=alice.pk, tier="pro")
    stripe.double.pay(late.id)
    stripe.wait_for_deliveries()
    assert [each.status for each in stripe_client.list_subscriptions(customer_id)] == ["canceled"]


def test_operators_are_alerted_although_the_answer_is_lost(
    stripe: Stripe, alice: Any, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The transaction is rolled back, and the next attempt finds the subscription ended."""
    mailed: list[str] = []
    monkeypatch.setattr(tasks.send_alarm, "apply_async", lambda args, **_: mailed.append(args[0]))
    settings.ALARM_EMAILS = ["operators@example.com"]
    stripe.stop_deliveries()
    stripe.checkout(alice)
    customer_id = Customer.objects.get().id
    delete(stripe, alice)
    stripe.double.pay(stripe_client.create_checkout(customer_id, stripe.price("pro"), user_id=alice.pk, tier="pro").id)

    stripe.double.fault("/v1/subscriptions/", method="DELETE", status=500, after_read=True, times=2)
    with pytest.raises(BillingUnavailable), transaction.atomic():
        sync.sync_customer(customer_id)
    assert mailed == ["subscription_of_nobody"]
    with transaction.atomic():
        sync.sync_customer(customer_id)
    assert [each.status for each in stripe_client.list_subscriptions(customer_id)] == ["canceled"]


@pytest.mark.parametrize("path", ["/v1/customers", "/v1/checkout/sessions"])
def test_a_checkout_during_deletion_is_refused(stripe: Stripe, alice: Any, path: str) -> None:
    """The rows are refused, since their user is gone."""
    headers = {**stripe.api.as_(alice), "Idempotency-Key": "a-key"}
    with ThreadPoolExecutor(1) as pool:
        with stripe.double.hold(path, method="POST") as held:
            answer = pool.submit(stripe.api.post, "/billing/checkout", json={"tier": "pro"}, headers=headers)
            held.wait()
            assert deletion.delete(alice)
        assert error(answer.result()) == (401, "token_invalid")
    assert not Customer.objects.exclude(email="").exists()


def test_an_export_contains_billing(stripe: Stripe, alice: Any) -> None:
    subscription_id = stripe.subscribe(alice)
    stripe.wait_for_deliveries()
    exported = stripe.api.get("/auth/export", headers=stripe.api.as_(alice)).json()["data"]
    assert [each["id"] for each in exported["subscriptions"]] == [subscription_id]
    assert exported["invoices"][0]["amount_paid"] == 2900 and exported["customer"]["email"] == alice.email


def test_without_stripe(api: Api, alice: Any) -> None:
    assert api.request("DELETE", "/auth/me", json={"password": PASSWORD}, headers=api.as_(alice)).status_code == 200


def find_alert(customer_id: str, folder: Path) -> str:
    lines = (folder / "web.log").read_text().splitlines()
    return next(line for line in lines if "subscription_not_ended" in line and customer_id in line)


def test_a_customer_unknown_to_stripe(stripe: Stripe, alice: Any, folder: Path) -> None:
    stripe.subscribe(alice)
    stripe.wait_for_deliveries()
    customer_id = Customer.objects.get(subscriber=alice).id
    stripe.double.reset()  # another account
    assert delete(stripe, alice).json()["data"]["message"] == "The account is deleted."
    assert "another account" in find_alert(customer_id, folder)


def test_a_replaced_customer_is_anonymised_too(stripe: Stripe, alice: Any) -> None:
    stripe.checkout(alice)
    gone = Customer.objects.get(subscriber=alice).id
    stripe_connection.client().v1.customers.delete(gone)
    stripe.checkout(alice)
    delete(stripe, alice)
    assert Customer.objects.filter(id=gone).exists()
    assert [each.email for each in Customer.objects.all()] == ["", ""]


def test_a_customer_of_the_other_mode_is_anonymised_too(stripe: Stripe, alice: Any, folder: Path) -> None:
    """This key cannot cancel the customer's subscriptions, so the operators are alerted."""
    stripe.checkout(alice)
    customer = Customer.objects.get(subscriber=alice)
    Customer.objects.update(livemode=True)
    assert delete(stripe, alice).json()["data"]["message"] == "The account is deleted."
    customer.refresh_from_db()
    assert (customer.email, customer.subscriber) == ("", None)
    assert "another mode" in find_alert(customer.id, folder)


def test_a_customer_after_stripe_was_unconfigured(stripe: Stripe, alice: Any, settings: Any) -> None:
    stripe.checkout(alice)
    settings.STRIPE_KEY = ""
    assert deletion.delete(alice)
