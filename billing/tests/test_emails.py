"""E-mails about payments: each once, however often Stripe repeats its event."""

import re
from typing import Any

import pytest
from django.conf import settings
from django.utils import timezone

from billing.payments import stripe_client
from testing.mailbox import Mailbox, get_text
from testing.stripe import Stripe

SUBJECTS = {
    "receipt": "Your LunaOS receipt",
    "failed": "Your payment to LunaOS failed",
    "ended": "Your LunaOS subscription has ended",
}


@pytest.fixture
def alice(make_user: Any) -> Any:
    """Return a user with a verified address."""
    return make_user("alice", email_verified_at=timezone.now())


@pytest.fixture
def mails(stripe: Stripe, mailbox: Mailbox) -> Any:
    """Return a user's e-mails of one kind, after all events are handled."""

    def of(user: Any, kind: str) -> list[str]:
        stripe.wait_for_deliveries()
        return [get_text(mail) for mail in mailbox.of(user) if mail["Subject"] == SUBJECTS[kind]]

    return of


def test_a_receipt(stripe: Stripe, alice: Any, mails: Any) -> None:
    subscription_id = stripe.subscribe(alice)
    (receipt,) = mails(alice, "receipt")
    assert (
        "Amount: 29.00 USD" in receipt and "for LunaOS pro" in receipt and f"{settings.PUBLIC_URL}/portal\n" in receipt
    )
    stripe.double.end_period(subscription_id)
    assert len(mails(alice, "receipt")) == 2

    for event in stripe.double.events():
        stripe.double.deliver(event["id"])
    assert len(mails(alice, "receipt")) == 2


def test_a_payment_that_failed(stripe: Stripe, alice: Any, mails: Any) -> None:
    subscription_id = stripe.subscribe(alice)
    stripe.double.fail_payment(subscription_id)
    (failed,) = mails(alice, "failed")
    link = re.search(r"http\S+(/pay\?token=\S+)", failed)
    assert "Amount: 29.00 USD" in failed and link
    assert "/invoice/in_" in stripe.api.get(link[1]).headers["Location"]
    stripe.double.fail_payment(subscription_id)  # the next attempt
    assert len(mails(alice, "failed")) == 2

    stripe.double.recover(subscription_id)
    assert len(mails(alice, "receipt")) == 2


def test_a_failure_that_is_paid_meanwhile_sends_no_mail(stripe: Stripe, alice: Any, mails: Any) -> None:
    subscription_id = stripe.subscribe(alice)
    stripe.wait_for_deliveries()
    stripe.stop_deliveries()
    stripe.double.fail_payment(subscription_id)
    stripe.double.recover(subscription_id)
    for event in stripe.double.events("invoice.payment_failed"):
        assert stripe.double.deliver(event["id"]) == 200
    for event in stripe.double.events():
        stripe.double.deliver(event["id"])
    assert (len(mails(alice, "failed")), len(mails(alice, "receipt"))) == (0, 2)


def test_the_end(stripe: Stripe, alice: Any, mails: Any) -> None:
    stripe_client.cancel_now(stripe.subscribe(alice))
    (ended,) = mails(alice, "ended")
    assert "Your plan is free now" in ended
