"""Payments of invoices, with their refunds and disputes: fetch, store, audit, alert."""

# An invoice and a charge name each other through Stripe's invoice payments alone. Callers hold the customer's lock.

from contextlib import suppress
from typing import Any

import stripe
from django.db import transaction
from djstripe.models import Customer, Dispute

from accounts.auditlog import alerts, trail
from accounts.auditlog.trail import Action
from billing.payments import disputes, stripe_client, stripe_connection, stripe_mirror
from billing.payments.disputes import Phase
from billing.payments.stripe_mirror import MirrorChange
from lunaos.infra.observability import metrics


def _alert_refunded(**facts: Any) -> None:
    message = (
        "A payment was refunded. The tier stays: end the subscription in Stripe's dashboard if it should not go on."
    )
    alerts.send("payment_refunded", message, **facts)


def _alert_refund_failed(**facts: Any) -> None:
    message = "A refund failed, so the customer did not get the money back. Look at the payment in Stripe's dashboard."
    alerts.send("refund_failed", message, **facts)


def _alert_dispute_opened(**facts: Any) -> None:
    message = (
        "A customer disputes a payment. Answer with evidence in Stripe's dashboard. New checkouts of the customer are "
        "blocked."
    )
    alerts.send("dispute_opened", message, **facts)


def _alert_dispute_lost(**facts: Any) -> None:
    message = (
        "A dispute is lost, so the customer's paid tier has ended. End the subscription in Stripe's dashboard, or "
        "restore the tier on the user's page."
    )
    alerts.send("dispute_lost", message, **facts)


ALARMS = {
    "payment_refunded": _alert_refunded,
    "refund_failed": _alert_refund_failed,
    "dispute_opened": _alert_dispute_opened,
    "dispute_lost": _alert_dispute_lost,
}


def find_customer_id(charge_id: str) -> str:
    """Return the id of the customer whose charge this is; empty if there is none."""
    try:
        charge = stripe_client.retrieve_charge(charge_id)
    except stripe_connection.StripeObjectMissing:
        return ""
    return stripe_client.id_of(charge.customer) if charge.customer else ""


def find_invoice_ids(charge_id: str) -> list[str]:
    # The operators get an alarm if there is none.
    intent = stripe_client.retrieve_charge(charge_id).payment_intent
    found = stripe_client.list_invoice_ids(stripe_client.id_of(intent)) if intent else []
    if not found:
        alert_unknown(charge_id)
    return found


def alert_unknown(charge_id: str) -> None:
    """Alert the operators, once a day, of a charge that belongs to no invoice of ours."""
    message = "Stripe reported a charge that belongs to no invoice of this platform. Look at it in Stripe's dashboard."
    alerts.send_daily("unknown_charge", charge_id, message, charge=charge_id)


def store_payments(customer: Customer, invoice: stripe.Invoice) -> None:
    """Store the charges and disputes of a stored invoice, then audit and report what has changed."""
    blocked = False
    for payment in invoice.payments.data if invoice.payments else ():
        intent = payment.payment.payment_intent
        for charge in stripe_client.list_charges(stripe_client.id_of(intent)) if intent else ():
            _report_refund(customer, invoice, stripe_mirror.store_charge(customer, invoice.id, charge))
            for dispute in _list_disputes(charge):
                change = stripe_mirror.store_dispute(dispute)
                blocked |= _report_dispute(customer, invoice, charge.id, change)
    stripe_mirror.sum_payments(invoice.id)
    if blocked:
        _expire_checkouts(customer)


def _list_disputes(charge: stripe.Charge) -> list[stripe.Dispute]:
    known = charge.disputed or Dispute.objects.filter(charge_id=charge.id).exists()
    return stripe_client.list_disputes(charge.id) if known else []


def _report_refund(customer: Customer, invoice: stripe.Invoice, change: MirrorChange) -> None:
    before, after = change.before.get("amount_refunded", 0), change.after["amount_refunded"]
    if before == after:
        return
    facts = {"invoice": invoice.id, "charge": change.id, "before": before, "after": after}
    facts |= {"currency": change.after["currency"]}
    action = Action.PAYMENT_REFUNDED if after > before else Action.REFUND_FAILED
    trail.record_on_commit(action, subject=customer.subscriber, **facts)
    _alert("payment_refunded" if after > before else "refund_failed", customer, **facts)


def _report_dispute(customer: Customer, invoice: stripe.Invoice, charge_id: str, change: MirrorChange) -> bool:
    # Audit and report a dispute that has opened or closed; return whether it blocks checkouts from now on.
    before = disputes.phase_of(change.before["status"]) if change.before else None
    now = disputes.phase_of(change.after["status"])
    if before == now:
        return False
    facts = {"dispute": change.id, "invoice": invoice.id, "charge": charge_id, "status": change.after["status"]}
    action = Action.DISPUTE_OPENED if now == Phase.OPEN else Action.DISPUTE_CLOSED
    trail.record_on_commit(action, subject=customer.subscriber, **facts)
    if now != Phase.SETTLED:
        _alert("dispute_opened" if now == Phase.OPEN else "dispute_lost", customer, **facts)
    return now != Phase.SETTLED


def _alert(kind: str, customer: Customer, **facts: Any) -> None:
    # Alert the operators once the change is stored; a repetition of the event then finds no change.

    def send() -> None:
        metrics.PAYMENT_REVERSALS.labels(kind).inc()
        ALARMS[kind](customer_id=customer.id, **facts)

    transaction.on_commit(send)


def _expire_checkouts(customer: Customer) -> None:
    # Expire the customer's open checkout pages, which could still be paid on.
    with suppress(stripe_connection.StripeObjectMissing):
        for session in stripe_client.list_open_checkouts(customer.id):
            stripe_client.expire_checkout(session.id)
