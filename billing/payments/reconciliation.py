"""Compare the stored subscriptions with Stripe's, and repair what differs.

This is the fallback for lost events. Stripe is asked for all subscriptions, 100 a page, and not customer by customer.
Only customers that differ are then synchronised, under the customer's lock, as after an event.
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.db import OperationalError, transaction
from djstripe.models import Customer

from accounts.auditlog import trail
from accounts.auditlog.trail import Action
from billing.payments import stripe_client, stripe_mirror, subscription_state, sync
from lunaos.errors import LunaError

SubscriptionData = dict[str, Any]  # the stored fields of a subscription


@dataclass(frozen=True, slots=True)
class CustomerMismatch:
    """A customer whose stored subscriptions differed from Stripe's.

    `before` and `after` are statuses by subscription id. `error` says why the repair failed, if it did.
    """

    customer_id: str
    before: dict[str, str]
    after: dict[str, str]
    tier_before: str
    tier: str
    error: str = ""


def reconcile() -> Iterator[CustomerMismatch]:
    """Compare all customers with Stripe, repair those that differ, and yield them.

    A customer that cannot be repaired does not stop the others.

    Raises:
        BillingNotConfigured, BillingUnavailable: Stripe cannot list the subscriptions.
    """
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


def _differs(customer: Customer, found: list[SubscriptionData]) -> bool:
    """Return whether a customer's subscriptions differ from the stored ones.

    A deleted user's subscriptions differ only while one is still live.
    """
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
                trail.record(Action.BILLING_RECONCILED, subject=user, before=before, after=after, tier=tier)
    except (LunaError, OperationalError) as e:
        return CustomerMismatch(customer_id, before, before, tier_before, tier_before, error=str(e))
    return CustomerMismatch(customer_id, before, after, tier_before, tier)


def _read_stored_state(customer_id: str) -> tuple[dict[str, str], str]:
    customer = Customer.objects.select_related("subscriber").filter(id=customer_id).first()
    rows = customer.subscriptions.all() if customer else ()
    tier = customer.subscriber.tier if customer and customer.subscriber else ""
    return {row.id: row.stripe_data["status"] for row in rows}, tier
