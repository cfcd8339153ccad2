"""The backstop of events: what Stripe lists against what the platform knows, mended where they differ.

Stripe is asked for everybody's subscriptions a page of 100 at a time, not customer by customer: what differs, and only
that, is then brought up to date under the customer's lock, as an event would.
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

import stripe
from django.db import transaction
from djstripe.models import Customer

from accounts import audit
from accounts.audit import Action
from billing import gateway, mirror, standing, sync
from lunaos.errors import LunaError


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
    listed: defaultdict[str, list[stripe.Subscription]] = defaultdict(list)
    for subscription in gateway.all_subscriptions():
        listed[gateway.id_of(subscription.customer)].append(subscription)
    for customer in Customer.objects.prefetch_related("subscriptions").iterator(chunk_size=500):
        if _differs(customer, listed.pop(customer.id, [])):
            yield _mend(customer.id)
    for customer_id in listed:  # whom no event has told of
        yield _mend(customer_id)


def _differs(customer: Customer, found: list[stripe.Subscription]) -> bool:
    """Whether any subscription is another than was stored; a deleted user's must only have ended."""
    if customer.subscriber_id is None:
        return any(subscription.status not in standing.ENDED for subscription in found)
    known = {row.id: row.stripe_data for row in customer.subscriptions.all()}
    gone = [data for id_, data in known.items() if id_ not in {each.id for each in found}]
    return any(known.get(each.id) != mirror.reduced(each) for each in found) or any(
        data["status"] not in standing.ENDED for data in gone
    )


def _mend(customer_id: str) -> Difference:
    before, tier_before = _known(customer_id)
    try:
        with transaction.atomic():
            user = sync.customer(customer_id)
            after, tier = _known(customer_id)
            if user:
                audit.record(Action.BILLING_RECONCILED, subject=user, before=before, after=after, tier=tier)
    except (LunaError, gateway.Missing) as e:
        return Difference(customer_id, before, before, tier_before, tier_before, error=str(e))
    return Difference(customer_id, before, after, tier_before, tier)


def _known(customer_id: str) -> tuple[dict[str, str], str]:
    customer = Customer.objects.select_related("subscriber").filter(id=customer_id).first()
    rows = customer.subscriptions.all() if customer else ()
    tier = customer.subscriber.tier if customer and customer.subscriber else ""
    return {row.id: row.stripe_data["status"] for row in rows}, tier
