"""Synchronise a customer with Stripe: lock, fetch, store, recalculate, notify."""

# Every trigger (an event, the page after checkout, a user's own change, the hourly comparison) only says that
# something may have changed. The state that Stripe then returns is what counts (BILLING.md).

from collections.abc import Iterable
from uuid import UUID

import stripe
from django.db import transaction
from djstripe.models import Customer

from accounts.auditlog import alerts, trail
from accounts.auditlog.trail import Action
from accounts.models import User
from billing import grants, tasks
from billing.payments import (
    charges,
    customer_locks,
    stripe_client,
    stripe_connection,
    stripe_mirror,
    subscription_state,
)
from billing.payments.stripe_mirror import MirrorChange
from lunaos.infra.task_queue import enqueue


def sync_customer(customer_id: str, *, invoice_id: str | None = None, charge_id: str | None = None) -> User | None:
    """Synchronise a customer, and perhaps an invoice or a charge's invoices.

    Raises BillingUnavailable if Stripe cannot be reached; the caller must roll the transaction back.
    """
    # The transaction holds the customer's lock until it ends. The result is None for an unknown customer, or one of a
    # deleted user.
    customer_locks.lock_until_commit(customer_id, short_wait=stripe_connection.has_short_timeout())
    known = _get_or_store_customer(customer_id)
    if known is None:
        return None
    try:
        found = stripe_client.list_subscriptions(customer_id)
    except (
        stripe_connection.StripeObjectMissing
    ):  # A key of another account would take every tier away, so this changes nothing.
        alerts.send(
            "customer_not_at_stripe",
            "Stripe does not know a stored customer. Check whether STRIPE_SECRET_KEY is of another account.",
            customer_id=customer_id,
        )
        return None
    if known.subscriber is None:
        _cancel_subscriptions_of_deleted_user(found)
        _store_invoices(known, found, _retrieve_invoices(None, charge_id))  # refunds and disputes count for the books
        return None
    store_and_apply(known, found, invoices=_retrieve_invoices(invoice_id, charge_id))
    return known.subscriber


@transaction.atomic
def refresh(customer: Customer) -> list[stripe.Subscription]:
    """Synchronise a customer whose lock the caller holds."""
    found = stripe_client.list_subscriptions(customer.id)
    store_and_apply(customer, found)
    return found


def store_and_apply(
    customer: Customer, found: list[stripe.Subscription], *, invoices: Iterable[stripe.Invoice] = ()
) -> None:
    """Store what Stripe returned, recalculate the tier, then audit and notify."""
    user = customer.subscriber
    changes = stripe_mirror.store_subscriptions(customer, found)
    unpaid = _list_unpaid_invoices(customer, found)
    paid_for = [
        *(stripe_mirror.store_invoice(customer, invoice, _find_invoice_tier(found, invoice)) for invoice in unpaid),
        *_store_invoices(customer, found, invoices),
    ]
    grants.recalculate_tier(user)
    _alert_anomalies(customer)
    for change in changes:
        _record_subscription_change(user, change)
    for change in paid_for:
        _record_invoice_change(user, change)


def _retrieve_invoices(invoice_id: str | None, charge_id: str | None) -> list[stripe.Invoice]:
    ids = [*([invoice_id] if invoice_id else ()), *(charges.find_invoice_ids(charge_id) if charge_id else ())]
    return [stripe_client.retrieve_invoice(id_) for id_ in ids]


def _store_invoices(
    customer: Customer, found: list[stripe.Subscription], invoices: Iterable[stripe.Invoice]
) -> list[MirrorChange]:
    changes = []
    for invoice in invoices:
        changes.append(stripe_mirror.store_invoice(customer, invoice, _find_invoice_tier(found, invoice)))
        charges.store_payments(customer, invoice)
    return changes


def _get_or_store_customer(customer_id: str) -> Customer | None:
    # Return the customer's row, created if Stripe's metadata name a user of ours.
    row = Customer.objects.select_related("subscriber").filter(id=customer_id).first()
    if row:
        return row
    try:
        found = stripe_client.retrieve_customer(customer_id)
        if stripe_client.is_deleted(found):
            return None
        user = User.objects.filter(pk=UUID(stripe_client.metadata_value(found, stripe_client.USER_KEY))).first()
    except (stripe_connection.StripeObjectMissing, ValueError):
        user = None
    if user is None:
        alerts.send(
            "unknown_customer",
            "Stripe reported a customer who is not a user of this platform.",
            customer_id=customer_id,
        )
        return None
    return stripe_mirror.store_customer(found, user)


def _cancel_subscriptions_of_deleted_user(found: list[stripe.Subscription]) -> None:
    for subscription in found:
        if subscription.status not in subscription_state.ENDED_STATUSES:
            # The alert goes out first: if the answer is lost, the next attempt finds the subscription canceled.
            invoice = subscription.to_dict().get("latest_invoice")
            message = "A deleted user's subscription is being canceled. Refund its payments in Stripe's dashboard."
            alerts.send("subscription_of_nobody", message, subscription=subscription.id, invoice=invoice)
            stripe_client.cancel_now(subscription.id)


def _list_unpaid_invoices(customer: Customer, found: Iterable[stripe.Subscription]) -> list[stripe.Invoice]:
    behind = [subscription.id for subscription in found if subscription.status == "past_due"]
    now_open = [invoice for subscription_id in behind for invoice in stripe_client.list_open_invoices(subscription_id)]
    seen = {invoice.id for invoice in now_open}
    # An invoice that is stored as open may be paid by now.
    before = customer.invoices.filter(stripe_data__status="open")
    stale = [row.id for row in before if row.id not in seen]
    return now_open + [invoice for invoice_id in stale if (invoice := _retrieve_stored_invoice(invoice_id))]


def _retrieve_stored_invoice(invoice_id: str) -> stripe.Invoice | None:
    try:
        return stripe_client.retrieve_invoice(invoice_id)
    except stripe_connection.StripeObjectMissing:
        stripe_mirror.delete_invoice(invoice_id)  # a draft, which can be deleted at Stripe
        return None


def _find_invoice_tier(found: Iterable[stripe.Subscription], invoice: stripe.Invoice) -> str | None:
    subscription_id = stripe_mirror.invoice_subscription_id(invoice)
    data = next((subscription.to_dict() for subscription in found if subscription.id == subscription_id), None)
    return subscription_state.tier_of_items(data) if data else None


def _alert_anomalies(customer: Customer) -> None:
    live = [each for each in subscription_state.list_for_customer(customer) if each.is_live]
    ids = {"customer_id": customer.id, "subscription_ids": [each.id for each in live]}
    if len(live) > 1:
        alerts.send(
            "two_subscriptions",
            "A customer has more than one live subscription. Cancel all but one in Stripe's dashboard.",
            **ids,
        )
    if any(each.tier is None for each in live):
        alerts.send(
            "unknown_price", "A subscription's price belongs to no tier, so that the subscription gives none.", **ids
        )


def _record_subscription_change(user: User, change: MirrorChange) -> None:
    before, after = subscription_state.summarize(change.before), subscription_state.summarize(change.after)
    if before == after:
        return
    trail.record_on_commit(
        Action.SUBSCRIPTION_CHANGED, subject=user, subscription=change.id, before=before, after=after
    )
    was_paid_for = change.before and change.before["status"] not in subscription_state.NEVER_PAID_STATUSES
    if change.after["status"] in subscription_state.ENDED_STATUSES and was_paid_for:
        enqueue.on_commit(tasks.send_subscription_ended, str(user.pk))


def _record_invoice_change(user: User, change: MirrorChange) -> None:
    attempts = change.after["attempt_count"]
    if change.after["status"] == "paid" != change.before.get("status"):
        trail.record_on_commit(Action.PAYMENT_SUCCEEDED, subject=user, invoice=change.id)
        if change.after["amount_paid"]:
            enqueue.on_commit(tasks.send_receipt, change.id)
    elif change.after["status"] == "open" and attempts > change.before.get("attempt_count", 0):
        trail.record_on_commit(Action.PAYMENT_FAILED, subject=user, invoice=change.id, attempt=attempts)
        enqueue.on_commit(tasks.send_payment_failed, change.id)
