"""Rows that mirror Stripe's objects, in dj-stripe's tables (docs/adr/0020)."""

# The rows hold only the fields that billing needs. dj-stripe's own synchronisation is not used: it fetches referenced
# objects without our time-outs, and stores the secret key. Callers hold the customer's lock.

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import stripe
from django.conf import settings
from django.db.models import Q, QuerySet
from djstripe.models import Charge, Customer, Dispute, Invoice, Subscription

from accounts.models import User
from billing.payments.stripe_client import id_of

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
LINE_FIELDS = ("description", "amount", "period")
CHARGE_FIELDS = (
    *("id", "object", "status", "created", "currency", "amount", "amount_refunded"),
    *("failure_code", "failure_message"),
)
REFUND_FIELDS = ("id", "status", "amount", "reason", "created")
DISPUTE_FIELDS = ("id", "object", "status", "reason", "amount", "currency", "created")
# Of an invoice's payments: their number, and the cents that were refunded and lost in disputes.
PAYMENT_SUMS = ("payments", "amount_refunded", "amount_lost")
REFUND_FAILURES = ("failed", "canceled")
LOST = "lost"  # status of a dispute


@dataclass(frozen=True, slots=True)
class MirrorChange:
    """A row's data before and after it was stored; `before` is empty for a new row."""

    id: str
    before: dict[str, Any]
    after: dict[str, Any]


def in_current_mode(path: str = "") -> Q:
    """Return a filter for rows of the key's mode, live or test, at a lookup path like `customer__`."""
    # Subscriptions of the test mode grant nothing under a live key. Without a key the mode is unknown: all rows count.
    return Q(**{f"{path}livemode": settings.STRIPE_LIVE_MODE}) if settings.STRIPE_KEY else Q()


def get_customer(user: User) -> Customer | None:
    """Return a user's customer in the current mode, if there is one."""
    return Customer.objects.filter(in_current_mode(), subscriber=user).order_by("djstripe_created").first()


def list_customers(user: User) -> QuerySet[Customer]:
    """Return a user's customers in both modes, for deletion."""
    return Customer.objects.filter(subscriber=user).order_by("djstripe_created")


def store_customer(found: stripe.Customer, user: User) -> Customer:
    """Store a user's customer; the address is there for staff to search by."""
    fields = {"subscriber": user, "email": user.email, **_common_fields(found)}
    row, _ = Customer.objects.update_or_create(id=found.id, defaults=fields)
    return row


def store_subscriptions(customer: Customer, found: Iterable[stripe.Subscription]) -> list[MirrorChange]:
    """Store a customer's subscriptions, of which `found` are all that Stripe lists."""
    before = {row.id: row.stripe_data for row in customer.subscriptions.all()}
    changes = []
    for subscription in found:
        now = reduce_subscription(subscription)
        fields = {"customer": customer, "stripe_data": now, **_common_fields(subscription)}
        Subscription.objects.update_or_create(id=subscription.id, defaults=fields)
        changes.append(MirrorChange(subscription.id, before.pop(subscription.id, {}), now))
    # Stripe lists all subscriptions of a customer: one that is missing was deleted.
    return changes + [_mark_canceled(gone, data) for gone, data in before.items()]


def store_invoice(customer: Customer, found: stripe.Invoice, tier: str | None) -> MirrorChange:
    """Store an invoice and the tier that it pays for; None if that is unknown."""
    row = Invoice.objects.filter(id=found.id).first()
    before: dict[str, Any] = row.stripe_data if row else {}
    now = _pick(found.to_dict(), INVOICE_FIELDS)
    now |= {"tier": before.get("tier") or tier, "subscription": invoice_subscription_id(found)}
    now |= {"lines": [_pick(line.to_dict(), LINE_FIELDS) for line in found.lines.data]}
    now |= _pick(before, PAYMENT_SUMS)
    fields = {"customer": customer, "stripe_data": now, **_common_fields(found)}
    Invoice.objects.update_or_create(id=found.id, defaults=fields)
    return MirrorChange(found.id, before, now)


def store_charge(customer: Customer, invoice_id: str, found: stripe.Charge) -> MirrorChange:
    """Store a charge of an invoice, with its card and refunds."""
    # No card of a deleted user.
    before = _stored_data(Charge, found.id)
    now = _pick(found.to_dict(), CHARGE_FIELDS)
    now |= {"payment_intent": id_of(found.payment_intent) if found.payment_intent else None}
    now |= {"card": _card(found) if customer.subscriber_id else None, "refunds": _refunds(found)}
    columns = {"amount": Decimal(found.amount) / 100, "currency": found.currency, "status": found.status}
    fields = {"customer": customer, "invoice_id": invoice_id, "stripe_data": now, **columns, **_common_fields(found)}
    Charge.objects.update_or_create(id=found.id, defaults=fields)
    return MirrorChange(found.id, before, now)


def store_dispute(found: stripe.Dispute) -> MirrorChange:
    """Store a dispute of a stored charge."""
    before, now = _stored_data(Dispute, found.id), _pick(found.to_dict(), DISPUTE_FIELDS)
    fields = {"charge_id": id_of(found.charge), "stripe_data": now, **_common_fields(found)}
    Dispute.objects.update_or_create(id=found.id, defaults=fields)
    return MirrorChange(found.id, before, now)


def sum_payments(invoice_id: str) -> None:
    """Store in an invoice's row what of its payments was refunded, and what was lost in disputes."""
    charges = list(Charge.objects.filter(invoice_id=invoice_id).prefetch_related("disputes"))
    disputes = [dispute.stripe_data for charge in charges for dispute in charge.disputes.all()]
    row = Invoice.objects.get(id=invoice_id)
    row.stripe_data |= {
        "payments": len(charges),
        "amount_refunded": sum(charge.stripe_data["amount_refunded"] for charge in charges),
        "amount_lost": sum(dispute["amount"] for dispute in disputes if dispute["status"] == LOST),
    }
    row.save(update_fields=["stripe_data"])


def delete_invoice(invoice_id: str) -> None:
    Invoice.objects.filter(id=invoice_id).delete()


def invoice_subscription_id(invoice: stripe.Invoice) -> str | None:
    """Return the id of the subscription that an invoice is for."""
    details = invoice.parent.subscription_details if invoice.parent else None
    reference = details.subscription if details else None
    return reference.id if isinstance(reference, stripe.Subscription) else reference


def anonymize_customers(user: User) -> None:
    """Remove what identifies a user from the customer's rows."""
    # Amounts stay for accounting, under Stripe's ids.
    fields: dict[str, Any] = {"subscriber": None, "email": "", "stripe_data": {}, "metadata": None}
    charges = list(Charge.objects.filter(customer__subscriber=user))
    for charge in charges:
        charge.stripe_data["card"] = None
    Charge.objects.bulk_update(charges, ["stripe_data"])
    Customer.objects.filter(subscriber=user).update(date_purged=datetime.now(UTC), **fields)


def detach_customer(customer: Customer) -> None:
    """Detach a customer from its user and remove the address; payments stay."""
    Customer.objects.filter(pk=customer.pk).update(subscriber=None, email="")


def _mark_canceled(subscription_id: str, before: dict[str, Any]) -> MirrorChange:
    now = {**before, "status": "canceled"}
    Subscription.objects.filter(id=subscription_id).update(stripe_data=now)
    return MirrorChange(subscription_id, before, now)


def reduce_subscription(found: stripe.Subscription) -> dict[str, Any]:
    data = found.to_dict()
    items = [_pick(item, ITEM_FIELDS) | {"price": _pick(item["price"], PRICE_FIELDS)} for item in data["items"]["data"]]
    return _pick(data, SUBSCRIPTION_FIELDS) | {"items": {"data": items}}


def _stored_data(model: type[Charge] | type[Dispute], id_: str) -> dict[str, Any]:
    data: dict[str, Any] | None = model.objects.filter(id=id_).values_list("stripe_data", flat=True).first()
    return data or {}


def _card(charge: stripe.Charge) -> dict[str, Any] | None:
    # Return brand and last four digits of a charge's card; for another method its kind.
    details = (charge.payment_method_details or stripe.StripeObject()).to_dict()
    if card := details.get("card"):
        return _pick(card, ("brand", "last4"))
    return {"brand": details["type"], "last4": ""} if details else None


def _refunds(charge: stripe.Charge) -> list[dict[str, Any]]:
    return [_pick(refund.to_dict(), REFUND_FIELDS) for refund in (charge.refunds.data if charge.refunds else ())]


_Mirrored = stripe.Customer | stripe.Subscription | stripe.Invoice | stripe.Charge | stripe.Dispute


def _common_fields(found: _Mirrored) -> dict[str, Any]:
    return {"livemode": found.livemode, "created": datetime.fromtimestamp(found.created or 0, UTC)}


def _pick(data: dict[str, Any], names: Iterable[str]) -> dict[str, Any]:
    return {name: data[name] for name in names if name in data}
