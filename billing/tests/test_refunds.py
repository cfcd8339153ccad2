"""Refunds: their events change what an invoice brought, and raise an alarm; the tier stays."""

from itertools import permutations
from typing import Any

import pytest
from djstripe.models import Charge, Customer, Invoice

from accounts.auditlog.trail import Action
from accounts.models import AuditEvent
from accounts.privacy import deletion
from billing.admin import revenue
from billing.models import WebhookEvent
from testing.stripe import LocalStripe, alarms

__all__ = ["alarms"]

REFUND_EVENTS = ("refund.created", "charge.refunded")


def invoice() -> dict[str, Any]:
    data: dict[str, Any] = Invoice.objects.get().stripe_data
    return data


def actions(user: Any) -> list[str]:
    return list(AuditEvent.objects.filter(subject_id=user.pk).order_by("id").values_list("action", flat=True))


def test_it_works(local_stripe: LocalStripe, alice: Any, alarms: list[str]) -> None:
    charge = local_stripe.subscribe(alice)
    assert alarms == [] and invoice()["amount_refunded"] == 0
    local_stripe.double.refund(charge["id"], amount=1000, reason="requested_by_customer")
    local_stripe.deliver()
    assert (invoice()["status"], invoice()["amount_paid"], invoice()["amount_refunded"]) == ("paid", 2900, 1000)
    alice.refresh_from_db()
    assert alice.tier == "pro"
    assert alarms == ["payment_refunded"]
    event = AuditEvent.objects.get(subject_id=alice.pk, action=Action.PAYMENT_REFUNDED)
    assert (event.details["before"], event.details["after"], event.details["charge"]) == (0, 1000, charge["id"])


def test_the_card_is_stored_with_the_payment(local_stripe: LocalStripe, alice: Any) -> None:
    charge = local_stripe.subscribe(alice)
    stored = Charge.objects.get(id=charge["id"])
    assert stored.stripe_data["card"] == {"brand": "visa", "last4": "4242"}
    assert stored.invoice_id == Invoice.objects.get().id
    assert "billing_details" not in stored.stripe_data


def test_revenue_is_without_refunds(local_stripe: LocalStripe, alice: Any) -> None:
    charge = local_stripe.subscribe(alice)
    local_stripe.double.refund(charge["id"], amount=1000)
    local_stripe.deliver()
    [row] = revenue.by_month_and_tier()
    assert (row["paid"], row["refunded"], row["lost"], row["net"]) == (29, 10, 0, 19)


def test_two_refunds_in_parts_and_then_in_whole(local_stripe: LocalStripe, alice: Any, alarms: list[str]) -> None:
    charge = local_stripe.subscribe(alice)
    for amount in (1000, 1900):
        local_stripe.double.refund(charge["id"], amount=amount)
        local_stripe.deliver()
    assert invoice()["amount_refunded"] == 2900
    assert alarms == ["payment_refunded"] * 2
    assert len(Charge.objects.get().stripe_data["refunds"]) == 2


def test_a_refund_that_fails(local_stripe: LocalStripe, alice: Any, alarms: list[str]) -> None:
    charge = local_stripe.subscribe(alice)
    refund = local_stripe.double.refund(charge["id"])
    local_stripe.deliver()
    local_stripe.double.fail_refund(refund["id"])
    local_stripe.deliver()
    assert invoice()["amount_refunded"] == 0
    assert alarms == ["payment_refunded", "refund_failed"]
    assert actions(alice)[-2:] == [Action.PAYMENT_REFUNDED, Action.REFUND_FAILED]


@pytest.mark.parametrize("order", [*permutations(("invoice.paid", *REFUND_EVENTS))])
def test_any_order_and_copies(local_stripe: LocalStripe, alice: Any, alarms: list[str], order: tuple[str, ...]) -> None:
    charge = local_stripe.subscribe(alice)
    WebhookEvent.objects.all().delete()
    Invoice.objects.all().delete()  # as if no event had arrived yet
    local_stripe.double.refund(charge["id"])
    events = {event["type"]: event for event in local_stripe.double.events()}
    for kind in (*order, *order):
        assert local_stripe.send(events[kind]) == 200
    assert invoice()["amount_refunded"] == 2900
    assert alarms == ["payment_refunded"]
    assert actions(alice).count(Action.PAYMENT_REFUNDED) == 1


def test_a_charge_of_a_stranger_is_accepted(local_stripe: LocalStripe, alarms: list[str]) -> None:
    charge = local_stripe.double.charge()
    local_stripe.double.refund(charge["id"])
    local_stripe.double.dispute(charge["id"])
    local_stripe.deliver()
    assert set(alarms) == {"unknown_charge"}
    assert not Charge.objects.exists()


def test_a_customer_of_another_shop(local_stripe: LocalStripe, alarms: list[str]) -> None:
    other = local_stripe.stranger()
    local_stripe.double.refund(local_stripe.double.charge(other)["id"])
    local_stripe.deliver()
    assert set(alarms) == {"unknown_customer"}


def test_a_charge_without_an_invoice(local_stripe: LocalStripe, alice: Any, alarms: list[str]) -> None:
    local_stripe.subscribe(alice)
    charge = local_stripe.double.charge(Customer.objects.get().id)
    local_stripe.double.refund(charge["id"])
    local_stripe.deliver()
    assert set(alarms) == {"unknown_charge"} and not Charge.objects.filter(id=charge["id"]).exists()


def test_a_charge_that_stripe_does_not_know(local_stripe: LocalStripe, alarms: list[str]) -> None:
    local_stripe.double.refund(local_stripe.double.charge()["id"])
    event = local_stripe.new_events()[0]
    event["data"]["object"]["charge"] = "ch_unknown"
    assert local_stripe.send(event) == 200
    assert alarms == ["unknown_charge"]


def test_a_refund_without_a_charge(local_stripe: LocalStripe, alarms: list[str]) -> None:
    local_stripe.double.refund(local_stripe.double.charge()["id"])
    event = local_stripe.new_events()[0]
    event["data"]["object"]["charge"] = None
    assert local_stripe.send(event) == 200
    assert alarms == ["unknown_charge"]


def test_the_payload_is_not_trusted(local_stripe: LocalStripe, alice: Any, bob: Any) -> None:
    """Neither amounts nor customers of an event count: Stripe is asked."""
    charge = local_stripe.subscribe(alice)
    local_stripe.subscribe(bob, "team")
    local_stripe.double.refund(charge["id"], amount=100)
    event = local_stripe.new_events()[-1]
    event["data"]["object"] |= {"amount_refunded": 2900, "customer": Customer.objects.get(subscriber=bob).id}
    assert local_stripe.send(event) == 200
    stored = {row.customer.subscriber_id: row.stripe_data["amount_refunded"] for row in Charge.objects.all()}
    assert stored == {alice.pk: 100, bob.pk: 0}


def test_stripe_is_down(local_stripe: LocalStripe, alice: Any, alarms: list[str]) -> None:
    """Nothing is stored, no alarm is raised twice, and Stripe's repetition succeeds."""
    charge = local_stripe.subscribe(alice)
    local_stripe.double.refund(charge["id"])
    event = local_stripe.new_events()[0]
    for path in ("/v1/charges/", "/v1/invoice_payments", "/v1/invoices/", "/v1/charges?"):
        local_stripe.double.fault(path.removesuffix("?"), method="GET", status=500, times=2)
        assert local_stripe.send(event) == 503
    assert alarms == [] and not WebhookEvent.objects.filter(pk=event["id"]).exists()
    assert local_stripe.send(event) == 200
    assert alarms == ["payment_refunded"]


def test_a_deleted_account(local_stripe: LocalStripe, alice: Any, alarms: list[str]) -> None:
    """The books stay right, and nothing about the person is stored again."""
    charge = local_stripe.subscribe(alice)
    assert deletion.delete_account(alice)
    assert Charge.objects.get().stripe_data["card"] is None
    local_stripe.double.refund(charge["id"])
    local_stripe.deliver()
    assert invoice()["amount_refunded"] == 2900
    assert Charge.objects.get().stripe_data["card"] is None
    assert alarms == ["payment_refunded"]
