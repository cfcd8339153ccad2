"""Invoices of subscriptions: created, finalized at once, then paid or not."""

from typing import Any

from tools.stripe_double.resources import payments
from tools.stripe_double.state import Object, ObjectStore, new_id

RETRY_AFTER_S = 3 * 24 * 3600
ISSUER_SELF = {"type": "self"}


def line(item: Object, *, amount: int | None = None, period: tuple[int, int] | None = None, what: str = "") -> Object:
    """Return an invoice line for one item of a subscription.

    Args:
        amount: in cents, for a part of a period (a proration); None for the full price.
        period: start and end in Unix seconds; the item's current period if None.
    """
    price, proration = item["price"], amount is not None
    full = (price["unit_amount"] or 0) * (item["quantity"] or 0)
    start, end = period or (item["current_period_start"], item["current_period_end"])
    return {
        "id": new_id("il"),
        "object": "line_item",
        "amount": full if amount is None else amount,
        "currency": price["currency"],
        "description": what or f"{item['quantity']} x {price['nickname'] or price['lookup_key'] or price['id']}",
        "discount_amounts": [],
        "discountable": not proration,
        "discounts": [],
        "livemode": False,
        "metadata": {},
        "parent": _line_parent(item, proration),
        "period": {"start": start, "end": end},
        "pretax_credit_amounts": [],
        "pricing": {
            "price_details": {"price": price["id"], "product": price["product"]},
            "type": "price_details",
            "unit_amount_decimal": price["unit_amount_decimal"],
        },
        "quantity": item["quantity"],
        "subscription": item["subscription"],
        "subtotal": full if amount is None else amount,
        "taxes": [],
    }


def _line_parent(item: Object, proration: bool) -> Object:
    return {
        "invoice_item_details": None,
        "subscription_item_details": {
            "invoice_item": None,
            "proration": proration,
            "proration_details": {"credited_items": None} if proration else None,
            "subscription": item["subscription"],
            "subscription_item": item["id"],
        },
        "type": "subscription_item_details",
    }


def create(
    store: ObjectStore, subscription: Object, *, reason: str, lines: list[Object], at: int | None = None
) -> Object:
    """Create an open invoice, with the events of a draft that was finalized.

    Args:
        reason: Stripe's `billing_reason`.
        at: Unix seconds; the current time if None.
    """
    at = at or store.now()
    created = {**_draft(store, subscription, lines, at), "billing_reason": reason}
    for each in created["lines"]["data"]:
        each["invoice"] = created["id"]
    created["lines"]["url"] = f"/v1/invoices/{created['id']}/lines"
    store.add(created, "invoice.created")
    subscription["latest_invoice"] = created["id"]
    number = len(store.all("invoice", customer=subscription["customer"]))
    prefix = store.objects[subscription["customer"]].get("invoice_prefix", "DOUBLE")
    created.update(status="open", number=f"{prefix}-{number:04}", effective_at=at)
    created["status_transitions"]["finalized_at"] = at
    created["hosted_invoice_url"] = f"{store.url}/invoice/{created['id']}"
    payments.open_for(store, created)
    store.emit("invoice.finalized", created)
    return created


def _draft(store: ObjectStore, subscription: Object, lines: list[Object], at: int) -> Object:
    customer = store.objects[subscription["customer"]]
    total = sum(each["amount"] for each in lines)
    due = max(0, total)  # Stripe adds the rest to a balance; the double drops it
    return {
        "id": new_id("in"),
        "object": "invoice",
        **UNUSED_FIELDS,
        "account_country": "US",
        "account_name": "LunaOS",
        "amount_due": due,
        "amount_overpaid": 0,
        "amount_paid": 0,
        "amount_remaining": due,
        "amount_shipping": 0,
        "attempt_count": 0,
        "attempted": False,
        "auto_advance": True,
        "automatic_tax": {
            "disabled_reason": None,
            "enabled": False,
            "liability": None,
            "provider": None,
            "status": None,
        },
        "collection_method": "charge_automatically",
        "created": at,
        "currency": subscription["currency"],
        "customer": subscription["customer"],
        "customer_email": customer.get("email"),
        "customer_name": customer.get("name"),
        "customer_tax_exempt": "none",
        "default_tax_rates": [],
        "discounts": [],
        "issuer": dict(ISSUER_SELF),
        "lines": {"object": "list", "data": lines, "has_more": False, "total_count": len(lines)},
        "livemode": False,
        "metadata": {},
        "parent": parent(subscription),
        "payment_settings": {"default_mandate": None, "payment_method_options": None, "payment_method_types": None},
        "period_end": at,
        "period_start": at,
        "post_payment_credit_notes_amount": 0,
        "pre_payment_credit_notes_amount": 0,
        "starting_balance": 0,
        "status": "draft",
        "status_transitions": dict.fromkeys(("finalized_at", "marked_uncollectible_at", "paid_at", "voided_at")),
        "subtotal": total,
        "subtotal_excluding_tax": total,
        "total": total,
        "total_discount_amounts": [],
        "total_excluding_tax": total,
        "total_pretax_credit_amounts": [],
        "total_taxes": [],
    }


UNUSED_FIELDS: dict[str, Any] = dict.fromkeys(
    (
        "account_tax_ids",
        "application",
        "automatically_finalizes_at",
        "custom_fields",
        "customer_account",
        "customer_address",
        "customer_phone",
        "customer_shipping",
        "default_payment_method",
        "default_source",
        "description",
        "due_date",
        "effective_at",
        "ending_balance",
        "footer",
        "from_invoice",
        "hosted_invoice_url",
        "invoice_pdf",
        "last_finalization_error",
        "latest_revision",
        "next_payment_attempt",
        "number",
        "on_behalf_of",
        "receipt_number",
        "rendering",
        "shipping_cost",
        "shipping_details",
        "statement_descriptor",
        "test_clock",
        "threshold_reason",
        "webhooks_delivered_at",
    )
)


def parent(subscription: Object) -> Object:
    details = {"metadata": dict(subscription["metadata"]), "subscription": subscription["id"]}
    return {"quote_details": None, "subscription_details": details, "type": "subscription_details"}


def list_for_subscription(store: ObjectStore, identifier: str, **filters: Any) -> list[Object]:
    invoices = store.all("invoice", **filters)
    return [each for each in invoices if each["parent"]["subscription_details"]["subscription"] == identifier]


def pay(store: ObjectStore, invoice: Object) -> None:
    at = max(store.now(), invoice["created"])
    payments.settle(store, invoice, at=at)
    with store.changing(invoice, "invoice.updated"):
        _count_attempt(invoice)
        invoice.update(status="paid", amount_paid=invoice["amount_due"], amount_remaining=0, auto_advance=False)
        invoice.update(ending_balance=0, next_payment_attempt=None)
        invoice["status_transitions"]["paid_at"] = at
    store.emit("invoice.paid", invoice)
    store.emit("invoice.payment_succeeded", invoice)


def fail(store: ObjectStore, invoice: Object) -> None:
    payments.decline(store, invoice)
    with store.changing(invoice, "invoice.updated"):
        _count_attempt(invoice)
        # Stripe would retry then; the double waits for the control page.
        invoice["next_payment_attempt"] = invoice["created"] + RETRY_AFTER_S * invoice["attempt_count"]
    store.emit("invoice.payment_failed", invoice)


def _count_attempt(invoice: Object) -> None:
    invoice.update(attempted=True, attempt_count=invoice["attempt_count"] + 1)
