"""Compare stored subscriptions, refunds and disputes with Stripe's, and repair what differs."""

# This is the fallback for lost events. Stripe is asked for all objects, 100 a page, and not customer by customer.
# Only customers that differ are then synchronised, under the customer's lock, as after an event.

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import OperationalError, transaction
from djstripe.models import Charge, Customer, Dispute, Invoice

from accounts.auditlog import trail
from accounts.auditlog.trail import Action
from billing.payments import charges, stripe_client, stripe_mirror, subscription_state, sync
from lunaos.errors import LunaError

SubscriptionData = dict[str, Any]  # the stored fields of a subscription
REFUND_WINDOW = timedelta(days=30)  # a lost event is found within hours; a refund fails within this time
DISPUTE_WINDOW = timedelta(days=365)  # a bank decides within months
MAX_INVOICES = 100  # whose payments are fetched at once, where no event has brought them


@dataclass(frozen=True, slots=True)
class CustomerMismatch:
    """A customer whose stored subscriptions differed from Stripe's."""

    # Statuses by subscription id.

    customer_id: str
    before: dict[str, str]
    after: dict[str, str]
    tier_before: str
    tier: str
    error: str = ""


def reconcile() -> Iterator[CustomerMismatch]:
    """Compare all customers with Stripe, repair those that differ, and yield them."""
    # A customer that cannot be repaired does not stop the others.
    listed: defaultdict[str, list[SubscriptionData]] = defaultdict(list)
    for subscription in stripe_client.list_all_subscriptions():
        listed[stripe_client.id_of(subscription.customer)].append(stripe_mirror.reduce_subscription(subscription))
    ours = Customer.objects.filter(stripe_mirror.in_current_mode()).prefetch_related("subscriptions")
    for customer in ours.iterator(chunk_size=500):
        if _differs(customer, listed.pop(customer.id, [])):
            yield _repair(customer.id)
    for customer_id, found in listed.items():  # customers that no event has reported
        if _any_live(found):
            yield _repair(customer_id)


@dataclass(frozen=True, slots=True)
class PaymentMismatch:
    """An invoice or a charge whose stored payments, refunds or disputes differed from Stripe's."""

    id: str
    error: str = ""


def reconcile_payments() -> Iterator[PaymentMismatch]:
    """Compare refunds and disputes with Stripe, repair the charges that differ, and yield them."""
    # Invoices whose payments were never fetched, as those of an earlier release, follow, at most MAX_INVOICES.
    now = datetime.now(UTC)
    for charge_id in sorted(_list_changed_refunds(now) | _list_changed_disputes(now)):
        customer_id = charges.find_customer_id(charge_id)
        if Customer.objects.filter(id=customer_id).exists():
            yield _repair_payment(charge_id, customer_id, charge_id=charge_id)
        else:
            charges.alert_unknown(charge_id)
    unread = Invoice.objects.filter(stripe_mirror.in_current_mode(), stripe_data__amount_paid__gt=0)
    for invoice in unread.exclude(stripe_data__has_key="payments").exclude(customer__subscriber=None)[:MAX_INVOICES]:
        yield _repair_payment(invoice.id, invoice.customer_id, invoice_id=invoice.id)


def _list_changed_refunds(now: datetime) -> set[str]:
    # Return the charges of refunds that are not stored, or with another status.
    found: defaultdict[str, set[tuple[str, str]]] = defaultdict(set)
    for refund in stripe_client.list_refunds_since(now - REFUND_WINDOW):
        if refund.charge:
            found[stripe_client.id_of(refund.charge)].add((refund.id, refund.status or ""))
    stored = Charge.objects.filter(id__in=found).values_list("id", "stripe_data__refunds")
    known = {id_: {(each["id"], each["status"]) for each in refunds or ()} for id_, refunds in stored}
    return {id_ for id_, refunds in found.items() if not refunds <= known.get(id_, set())}


def _list_changed_disputes(now: datetime) -> set[str]:
    # Return the charges of disputes that are not stored, or with another status.
    found = {each.id: each for each in stripe_client.list_disputes_since(now - DISPUTE_WINDOW)}
    known = dict(Dispute.objects.filter(id__in=found).values_list("id", "stripe_data__status"))
    return {stripe_client.id_of(each.charge) for id_, each in found.items() if known.get(id_) != each.status}


def _repair_payment(id_: str, customer_id: str, **about: str) -> PaymentMismatch:
    try:
        with transaction.atomic():
            if user := sync.sync_customer(customer_id, **about):
                trail.record_on_commit(Action.BILLING_RECONCILED, subject=user, payment=id_)
    except (LunaError, OperationalError) as e:
        return PaymentMismatch(id_, str(e))
    return PaymentMismatch(id_)


def _differs(customer: Customer, found: list[SubscriptionData]) -> bool:
    # Return whether a customer's subscriptions differ from the stored ones.
    # A deleted user's subscriptions differ only while one is still live.
    if customer.subscriber_id is None:
        return _any_live(found)
    known = {row.id: row.stripe_data for row in customer.subscriptions.all()}
    listed = {each["id"] for each in found}
    gone = [data for id_, data in known.items() if id_ not in listed]
    return any(known.get(each["id"]) != each for each in found) or _any_live(gone)


def _any_live(found: list[SubscriptionData]) -> bool:
    return any(each["status"] not in subscription_state.ENDED_STATUSES for each in found)


def _repair(customer_id: str) -> CustomerMismatch:
    before, tier_before = _read_stored_state(customer_id)
    try:
        with transaction.atomic():
            user = sync.sync_customer(customer_id)
            after, tier = _read_stored_state(customer_id)
            if user:
                trail.record_on_commit(Action.BILLING_RECONCILED, subject=user, before=before, after=after, tier=tier)
    except (LunaError, OperationalError) as e:
        return CustomerMismatch(customer_id, before, before, tier_before, tier_before, error=str(e))
    return CustomerMismatch(customer_id, before, after, tier_before, tier)


def _read_stored_state(customer_id: str) -> tuple[dict[str, str], str]:
    customer = Customer.objects.select_related("subscriber").filter(id=customer_id).first()
    rows = customer.subscriptions.all() if customer else ()
    tier = customer.subscriber.tier if customer and customer.subscriber else ""
    return {row.id: row.stripe_data["status"] for row in rows}, tier
