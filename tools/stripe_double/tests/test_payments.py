"""Payments of invoices, refunds and disputes, through Stripe's SDK."""

import pytest
import stripe

from tools.stripe_double.double import Double
from tools.stripe_double.tests.plans import Plans, types

DISPUTED = "charge.dispute"


@pytest.fixture
def charge(double: Double, client: stripe.StripeClient, plans: Plans) -> stripe.Charge:
    """Return the charge of a subscription that was bought."""
    return find_charge(client, plans.subscribed(double))


def find_charge(client: stripe.StripeClient, subscription: stripe.Subscription) -> stripe.Charge:
    """Find the way that Stripe offers: invoice, its payments, payment intent, charge."""
    invoice = client.v1.invoices.retrieve(str(subscription.latest_invoice), {"expand": ["payments"]})
    assert invoice.payments
    [payment] = invoice.payments.data
    [found] = client.v1.charges.list({"payment_intent": str(payment.payment.payment_intent)}).data
    return found


def test_it_works(double: Double, client: stripe.StripeClient, plans: Plans) -> None:
    subscription = plans.subscribed(double)
    found = find_charge(client, subscription)
    assert (found.amount, found.status, found.paid, found.customer) == (2000, "succeeded", True, subscription.customer)
    assert found.payment_method_details
    assert found.payment_method_details.card
    assert (found.payment_method_details.card.brand, found.payment_method_details.card.last4) == ("visa", "4242")


def test_a_payment_leads_back_to_its_invoice(
    double: Double, client: stripe.StripeClient, charge: stripe.Charge
) -> None:
    intent = str(charge.payment_intent)
    listed = client.v1.invoice_payments.list({"payment": {"type": "payment_intent", "payment_intent": intent}})
    [payment] = listed.data
    assert client.v1.invoices.retrieve(str(payment.invoice)).status == "paid"
    assert (payment.status, payment.amount_paid) == ("paid", 2000)
    other = client.v1.invoice_payments.list({"payment": {"type": "payment_intent", "payment_intent": "pi_other"}})
    assert other.data == []


def test_a_declined_charge(double: Double, client: stripe.StripeClient, plans: Plans) -> None:
    failed = double.fail_payment(plans.subscribed(double).id)
    charges = client.v1.charges.list({"customer": failed["customer"]}).data
    assert [(each.status, each.failure_code) for each in charges] == [
        ("failed", "card_declined"),
        ("succeeded", None),
    ]
    double.recover(failed["id"])
    newest = client.v1.charges.list({"customer": failed["customer"]}).data[0]
    assert newest.status == "succeeded" and newest.payment_intent == charges[0].payment_intent


def test_an_invoice_of_nothing_has_no_payment(double: Double, client: stripe.StripeClient, plans: Plans) -> None:
    subscription = plans.subscribed(double, plans.team)
    item = subscription["items"].data[0].id
    order: stripe.params.SubscriptionUpdateParams = {
        "items": [{"id": item, "price": plans.pro.id}],
        "proration_behavior": "always_invoice",
    }
    cheaper = client.v1.subscriptions.update(subscription.id, order)
    assert client.v1.invoice_payments.list({"invoice": str(cheaper.latest_invoice)}).data == []


def test_refunds_in_parts(double: Double, client: stripe.StripeClient, charge: stripe.Charge) -> None:
    client.v1.refunds.create({"charge": charge.id, "amount": 500, "reason": "requested_by_customer"})
    partly = client.v1.charges.retrieve(charge.id, {"expand": ["refunds"]})
    assert (partly.amount_refunded, partly.refunded) == (500, False)
    assert partly.refunds and [each.amount for each in partly.refunds.data] == [500]
    client.v1.refunds.create({"payment_intent": str(charge.payment_intent)})
    assert client.v1.charges.retrieve(charge.id).refunded
    assert types(double.events())[-2:] == ["refund.created", "charge.refunded"]


def test_a_refund_that_fails(double: Double, client: stripe.StripeClient, charge: stripe.Charge) -> None:
    double.fail_refund(double.refund(charge.id)["id"])
    assert client.v1.charges.retrieve(charge.id).amount_refunded == 0
    assert types(double.events())[-3:] == ["refund.updated", "charge.updated", "refund.failed"]


@pytest.mark.parametrize(("first", "second", "reason"), [(2000, 1, "already been refunded"), (500, 1501, "greater")])
def test_more_than_was_paid_is_refused(
    double: Double, client: stripe.StripeClient, charge: stripe.Charge, first: int, second: int, reason: str
) -> None:
    client.v1.refunds.create({"charge": charge.id, "amount": first})
    with pytest.raises(stripe.InvalidRequestError, match=reason):
        client.v1.refunds.create({"charge": charge.id, "amount": second})


def test_a_dispute_is_won(double: Double, client: stripe.StripeClient, charge: stripe.Charge) -> None:
    opened = double.dispute(charge.id)
    assert client.v1.charges.retrieve(charge.id).disputed
    with pytest.raises(stripe.InvalidRequestError, match="charged back"):
        client.v1.refunds.create({"charge": charge.id})
    double.set_dispute(opened["id"], "under_review")
    double.set_dispute(opened["id"], "won")
    [found] = client.v1.disputes.list({"charge": charge.id}).data
    assert (found.status, [each.amount for each in found.balance_transactions]) == ("won", [-2000, 2000])
    assert [each for each in types(double.events()) if each.startswith(DISPUTED)] == [
        f"{DISPUTED}.{what}"
        for what in ("created", "funds_withdrawn", "updated", "updated", "funds_reinstated", "closed")
    ]


def test_a_dispute_is_accepted(double: Double, client: stripe.StripeClient, charge: stripe.Charge) -> None:
    opened = double.dispute(charge.id)
    assert client.v1.disputes.close(opened["id"]).status == "lost"
    with pytest.raises(stripe.InvalidRequestError, match="already closed"):
        client.v1.disputes.close(opened["id"])


def test_an_inquiry_withdraws_nothing(double: Double, client: stripe.StripeClient, charge: stripe.Charge) -> None:
    inquiry = double.dispute(charge.id, inquiry=True)
    assert (inquiry["status"], inquiry["balance_transactions"]) == ("warning_needs_response", [])
    client.v1.refunds.create({"charge": charge.id})
    assert double.set_dispute(inquiry["id"], "warning_closed")["balance_transactions"] == []


def test_a_charge_of_a_stranger(double: Double, client: stripe.StripeClient) -> None:
    found = client.v1.charges.retrieve(double.charge()["id"])
    assert (found.customer, found.paid) == (None, True)
    assert client.v1.invoice_payments.list().data == []
