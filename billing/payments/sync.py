"""What a customer has at Stripe becomes what the platform knows: lock, fetch, store, settle, tell.

Whatever calls for it (an event, the page after checkout, a user's own change, the hourly comparison) is a hint that
something may have changed; what counts is the state that Stripe then says (BILLING.md).
"""

from collections.abc import Iterable
from uuid import UUID

import stripe
from django.db import transaction
from djstripe.models import Customer

from accounts.auditlog import alerts, trail
from accounts.auditlog.trail import Action
from accounts.models import User
from billing import grants, tasks
from billing.payments import customer_locks, stripe_client, stripe_mirror, subscription_state
from billing.payments.stripe_mirror import Change
from lunaos.infra.task_queue import enqueue


def customer(customer_id: str, *, invoice_id: str | None = None) -> User | None:
    """Bring a customer up to date, inside the transaction under way, which holds the customer's lock then.

    Args:
        invoice_id: one that is to be looked at as well.

    Returns:
        The user; None where the customer is nobody's, or a deleted user's.

    Raises:
        BillingUnavailable: Stripe cannot be asked; the transaction is to be undone.
    """
    customer_locks.hold(customer_id, hurried=stripe_client.is_hurried())
    known = _known(customer_id)
    if known is None:
        return None
    try:
        found = stripe_client.subscriptions(customer_id)
    except stripe_client.Missing:  # a key of another account would take every tier away: nothing is concluded from it
        alerts.send("customer_not_at_stripe", "Stripe does not know a customer.", customer_id=customer_id)
        return None
    if known.subscriber is None:
        _end_all(found)
        return None
    update(known, found, invoice_id=invoice_id)
    return known.subscriber


@transaction.atomic
def refresh(customer: Customer) -> list[stripe.Subscription]:
    """The same for whoever holds the customer's lock and goes on with what Stripe says."""
    found = stripe_client.subscriptions(customer.id)
    update(customer, found)
    return found


def update(customer: Customer, found: list[stripe.Subscription], *, invoice_id: str | None = None) -> None:
    """Store what was found under the customer's lock, and draw the conclusions."""
    user = customer.subscriber
    changes = stripe_mirror.store_subscriptions(customer, found)
    invoices = [*_unpaid_invoices(customer, found), *([stripe_client.invoice(invoice_id)] if invoice_id else [])]
    paid_for = [stripe_mirror.store_invoice(customer, invoice, _tier_of(found, invoice)) for invoice in invoices]
    grants.recalculate_tier(user)
    _warn(customer)
    for change in changes:
        _tell_of_subscription(user, change)
    for change in paid_for:
        _tell_of_invoice(user, change)


def _known(customer_id: str) -> Customer | None:
    """The customer's row, made where the customer is one of ours that was never stored."""
    row = Customer.objects.select_related("subscriber").filter(id=customer_id).first()
    if row:
        return row
    try:
        found = stripe_client.customer(customer_id)
        if stripe_client.is_deleted(found):
            return None
        user = User.objects.filter(pk=UUID(stripe_client.note(found, stripe_client.USER_KEY))).first()
    except (stripe_client.Missing, ValueError):
        user = None
    if user is None:
        alerts.send("unknown_customer", "Stripe told of a customer who is no user.", customer_id=customer_id)
        return None
    return stripe_mirror.store_customer(found, user)


def _end_all(found: list[stripe.Subscription]) -> None:
    """A deleted user has nothing left to pay for: what was begun while the account went is ended.

    The operators are told before: where the answer is lost, the next attempt finds it ended and says nothing.
    """
    for subscription in found:
        if subscription.status not in subscription_state.ENDED:
            invoice = subscription.to_dict().get("latest_invoice")
            message = "A deleted user's subscription is ended. What was paid for it is to be given back by hand."
            alerts.send("subscription_of_nobody", message, subscription=subscription.id, invoice=invoice)
            stripe_client.cancel_now(subscription.id)


def _unpaid_invoices(customer: Customer, found: Iterable[stripe.Subscription]) -> list[stripe.Invoice]:
    """What is open of subscriptions that are past due, and what was open and may not be any more."""
    behind = [subscription.id for subscription in found if subscription.status == "past_due"]
    now_open = [invoice for subscription_id in behind for invoice in stripe_client.open_invoices(subscription_id)]
    seen = {invoice.id for invoice in now_open}
    before = customer.invoices.filter(stripe_data__status="open")
    stale = [row.id for row in before if row.id not in seen]
    return now_open + [invoice for invoice_id in stale if (invoice := _invoice(invoice_id))]


def _invoice(invoice_id: str) -> stripe.Invoice | None:
    """One that was stored; a draft can be deleted at Stripe, and is nothing to wait for then."""
    try:
        return stripe_client.invoice(invoice_id)
    except stripe_client.Missing:
        stripe_mirror.forget_invoice(invoice_id)
        return None


def _tier_of(found: Iterable[stripe.Subscription], invoice: stripe.Invoice) -> str | None:
    of = stripe_mirror.subscription_of(invoice)
    data = next((subscription.to_dict() for subscription in found if subscription.id == of), None)
    return subscription_state.tier_of_items(data) if data else None


def _warn(customer: Customer) -> None:
    """What should not be, is borne, and wants a look."""
    live = [each for each in subscription_state.of_customer(customer) if each.is_live]
    ids = {"customer_id": customer.id, "subscription_ids": [each.id for each in live]}
    if len(live) > 1:
        alerts.send("two_subscriptions", "A customer has more than one subscription.", **ids)
    if any(each.tier is None for each in live):
        alerts.send("unknown_price", "A subscription's price is of no tier, and gives none.", **ids)


def _tell_of_subscription(user: User, change: Change) -> None:
    before, after = subscription_state.in_words(change.before), subscription_state.in_words(change.after)
    if before == after:
        return
    trail.record_on_commit(
        Action.SUBSCRIPTION_CHANGED, subject=user, subscription=change.id, before=before, after=after
    )
    was_paid_for = change.before and change.before["status"] not in subscription_state.NEVER_PAID
    if change.after["status"] in subscription_state.ENDED and was_paid_for:
        enqueue.on_commit(tasks.send_subscription_ended, str(user.pk))


def _tell_of_invoice(user: User, change: Change) -> None:
    attempts = change.after["attempt_count"]
    if change.after["status"] == "paid" != change.before.get("status"):
        trail.record_on_commit(Action.PAYMENT_SUCCEEDED, subject=user, invoice=change.id)
        if change.after["amount_paid"]:
            enqueue.on_commit(tasks.send_receipt, change.id)
    elif change.after["status"] == "open" and attempts > change.before.get("attempt_count", 0):
        trail.record_on_commit(Action.PAYMENT_FAILED, subject=user, invoice=change.id, attempt=attempts)
        enqueue.on_commit(tasks.send_payment_failed, change.id)
