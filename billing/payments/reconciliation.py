"""The backstop of events: what Stripe lists against what the platform knows, mended where they differ.

Stripe is asked for everybody's subscriptions a page of 100 at a time, not customer by customer: what differs, and only
that, is then brought up to date under the customer's lock, as an event would.
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

Kept = dict[str, Any]  # what is kept of a subscription


@dataclass(frozen=True, slots=True)
class Difference:
    """A customer whose subscriptions were not what the platform knew.

    Args:
        before, after: statuses by the subscription's id.
        error: why it was not mended; empty where it was.
    """

    customer_id: str
    before: dict[str, str]
    after: dict[str, str]
    tier_before: str
    tier: str
    error: str = ""


def run() -> Iterator[Difference]:
    """Compare and mend, customer by customer; one that cannot be mended does not hold up the others.

    Raises:
        BillingNotConfigured, BillingUnavailable: Stripe cannot be asked for the list.
    """
    listed: defaultdict[str, list[Kept]] = defaultdict(list)
    for subscription in stripe_client.all_subscriptions():
        listed[stripe_client.id_of(subscription.customer)].append(stripe_mirror.reduced(subscription))
    ours = Customer.objects.filter(stripe_mirror.of_this_mode()).prefetch_related("subscriptions")
    for customer in ours.iterator(chunk_size=500):
        if _differs(customer, listed.pop(customer.id, [])):
            yield _mend(customer.id)
    for customer_id, found in listed.items():  # whom no event has told of
        if _any_live(found):
            yield _mend(customer_id)


def _differs(customer: Customer, found: list[Kept]) -> bool:
    """Whether any subscription is another than was stored; a deleted user's must only have ended."""
    if customer.subscriber_id is None:
        return _any_live(found)
    known = {row.id: row.stripe_data for row in customer.subscriptions.all()}
    listed = {each["id"] for each in found}
    gone = [data for id_, data in known.items() if id_ not in listed]
    return any(known.get(each["id"]) != each for each in found) or _any_live(gone)


def _any_live(found: list[Kept]) -> bool:
    return any(each["status"] not in subscription_state.ENDED for each in found)


def _mend(customer_id: str) -> Difference:
    before, tier_before = _known(customer_id)
    try:
        with transaction.atomic():
            user = sync.customer(customer_id)
            after, tier = _known(customer_id)
            if user:
                trail.record_on_commit(Action.BILLING_RECONCILED, subject=user, before=before, after=after, tier=tier)
    except (LunaError, OperationalError) as e:
        return Difference(customer_id, before, before, tier_before, tier_before, error=str(e))
    return Difference(customer_id, before, after, tier_before, tier)


def _known(customer_id: str) -> tuple[dict[str, str], str]:
    customer = Customer.objects.select_related("subscriber").filter(id=customer_id).first()
    rows = customer.subscriptions.all() if customer else ()
    tier = customer.subscriber.tier if customer and customer.subscriber else ""
    return {row.id: row.stripe_data["status"] for row in rows}, tier
