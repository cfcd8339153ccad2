"""Rows of what Stripe said last, in dj-stripe's tables, reduced to what billing needs (docs/adr/0020).

dj-stripe's own synchronising is not used: it fetches what an object refers to by itself, without our time limits, and
stores the secret key. Callers hold the customer's lock.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import stripe
from django.conf import settings
from django.db.models import Q, QuerySet
from djstripe.models import Customer, Invoice, Subscription

from accounts.models import User

SUBSCRIPTION_FIELDS = (
    *("id", "object", "customer", "status", "created", "start_date", "trial_end", "schedule", "latest_invoice"),
    *("cancel_at", "cancel_at_period_end", "canceled_at", "ended_at"),
)
ITEM_FIELDS = ("id", "quantity", "current_period_start", "current_period_end")
PRICE_FIELDS = ("id", "lookup_key", "metadata", "unit_amount", "currency")
INVOICE_FIELDS = (
    *("id", "object", "customer", "status", "number", "created", "currency", "billing_reason", "attempt_count"),
    *("amount_due", "amount_paid", "period_start", "period_end"),
)


@dataclass(frozen=True, slots=True)
class MirrorChange:
    """What a row said before, and says now; empty where there was none."""

    id: str
    before: dict[str, Any]
    after: dict[str, Any]


def in_current_mode(path: str = "") -> Q:
    """A filter for rows of the mode that the key is of: play money gives nothing where real money moves.

    Without a key nothing is known of any mode, and all rows count on as they are.

    Args:
        path: to the row whose mode counts, as in `customer__`.
    """
    return Q(**{f"{path}livemode": settings.STRIPE_LIVE_MODE}) if settings.STRIPE_KEY else Q()


def get_customer(user: User) -> Customer | None:
    """The user's customer at Stripe, where there is one."""
    return Customer.objects.filter(in_current_mode(), subscriber=user).order_by("djstripe_created").first()


def list_customers(user: User) -> QuerySet[Customer]:
    """All of them, of both modes: whoever goes leaves nothing behind in either."""
    return Customer.objects.filter(subscriber=user).order_by("djstripe_created")


def store_customer(found: stripe.Customer, user: User) -> Customer:
    """Remember whose a customer is; of the person only the address, for staff to search by."""
    fields = {"subscriber": user, "email": user.email, **_common_fields(found)}
    row, _ = Customer.objects.update_or_create(id=found.id, defaults=fields)
    return row


def store_subscriptions(customer: Customer, found: Iterable[stripe.Subscription]) -> list[MirrorChange]:
    """Remember a customer's subscriptions; one that Stripe does not list any more is gone, and so canceled."""
    before = {row.id: row.stripe_data for row in customer.subscriptions.all()}
    changes = []
    for subscription in found:
        now = reduce_subscription(subscription)
        fields = {"customer": customer, "stripe_data": now, **_common_fields(subscription)}
        Subscription.objects.update_or_create(id=subscription.id, defaults=fields)
        changes.append(MirrorChange(subscription.id, before.pop(subscription.id, {}), now))
    return changes + [_mark_canceled(gone, data) for gone, data in before.items()]


def store_invoice(customer: Customer, found: stripe.Invoice, tier: str | None) -> MirrorChange:
    """Remember an invoice, and what it was for.

    Args:
        tier: that it pays for, where that was not known before; None where it cannot be told.
    """
    row = Invoice.objects.filter(id=found.id).first()
    before: dict[str, Any] = row.stripe_data if row else {}
    now = _pick(found.to_dict(), INVOICE_FIELDS)
    now |= {"tier": before.get("tier") or tier, "subscription": invoice_subscription_id(found)}
    fields = {"customer": customer, "stripe_data": now, **_common_fields(found)}
    Invoice.objects.update_or_create(id=found.id, defaults=fields)
    return MirrorChange(found.id, before, now)


def delete_invoice(invoice_id: str) -> None:
    """Drop one that is not at Stripe any more."""
    Invoice.objects.filter(id=invoice_id).delete()


def invoice_subscription_id(invoice: stripe.Invoice) -> str | None:
    """The id of the subscription that an invoice is for."""
    details = invoice.parent.subscription_details if invoice.parent else None
    reference = details.subscription if details else None
    return reference.id if isinstance(reference, stripe.Subscription) else reference


def anonymize_customers(user: User) -> None:
    """Take out what tells whose customers they were; amounts stay for the books, under Stripe's ids."""
    fields: dict[str, Any] = {"subscriber": None, "email": "", "stripe_data": {}, "metadata": None}
    Customer.objects.filter(subscriber=user).update(date_purged=datetime.now(UTC), **fields)


def detach_customer(customer: Customer) -> None:
    """Keep what was paid by a customer, and let it be nobody's; the address too, which nobody would find later."""
    Customer.objects.filter(pk=customer.pk).update(subscriber=None, email="")


def _mark_canceled(subscription_id: str, before: dict[str, Any]) -> MirrorChange:
    now = {**before, "status": "canceled"}
    Subscription.objects.filter(id=subscription_id).update(stripe_data=now)
    return MirrorChange(subscription_id, before, now)


def reduce_subscription(found: stripe.Subscription) -> dict[str, Any]:
    """What is kept of a subscription."""
    data = found.to_dict()
    items = [_pick(item, ITEM_FIELDS) | {"price": _pick(item["price"], PRICE_FIELDS)} for item in data["items"]["data"]]
    return _pick(data, SUBSCRIPTION_FIELDS) | {"items": {"data": items}}


def _common_fields(found: "stripe.Customer | stripe.Subscription | stripe.Invoice") -> dict[str, Any]:
    return {"livemode": found.livemode, "created": datetime.fromtimestamp(found.created or 0, UTC)}


def _pick(data: dict[str, Any], names: Iterable[str]) -> dict[str, Any]:
    return {name: data[name] for name in names if name in data}
