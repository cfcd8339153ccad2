from typing import Any

from tools.stripe_double import errors
from tools.stripe_double.object_fields import merge_metadata
from tools.stripe_double.params_subscriptions import CancellationDetails, SubscriptionCancel, SubscriptionUpdate
from tools.stripe_double.resources import catalogue, invoices, periods, price_changes
from tools.stripe_double.state import Object, ObjectStore, new_id

ENDED_STATUSES = ("canceled", "incomplete_expired")
UPDATED_EVENT = "customer.subscription.updated"
PENDING_UPDATE_PARAMETERS = {"items", "payment_behavior", "proration_behavior"}

UNUSED_FIELDS: dict[str, Any] = dict.fromkeys(
    (
        "application",
        "application_fee_percent",
        "billing_cycle_anchor_config",
        "billing_thresholds",
        "cancel_at",
        "canceled_at",
        "customer_account",
        "days_until_due",
        "default_payment_method",
        "default_source",
        "ended_at",
        "latest_invoice",
        "next_pending_invoice_item_invoice",
        "on_behalf_of",
        "pause_collection",
        "pending_invoice_item_interval",
        "pending_setup_intent",
        "pending_update",
        "schedule",
        "test_clock",
        "transfer_data",
        "trial_end",
        "trial_start",
    )
)


def create(
    store: ObjectStore, *, customer: str, lines: list[Object], metadata: dict[str, str], description: str | None = None
) -> Object:
    """Create a paid subscription with its first invoice."""
    created = _blank(store, customer, metadata, description)
    created["items"]["data"] = [_item(store, created, each) for each in lines]
    created["currency"] = created["items"]["data"][0]["price"]["currency"]
    bill = [invoices.line(item) for item in created["items"]["data"]]
    invoice = invoices.create(store, created, reason="subscription_create", lines=bill)
    store.add(created, "customer.subscription.created")
    with store.changing(store.objects[customer], "customer.updated") as owner:
        owner["currency"] = created["currency"]
    invoices.pay(store, invoice)
    return created


def _blank(store: ObjectStore, customer: str, metadata: dict[str, str], description: str | None) -> Object:
    identifier, now = new_id("sub"), store.now()
    return {
        "id": identifier,
        "object": "subscription",
        **UNUSED_FIELDS,
        "automatic_tax": {"disabled_reason": None, "enabled": False, "liability": None},
        "billing_cycle_anchor": now,
        "billing_mode": {"flexible": {"proration_discounts": "included"}, "type": "flexible", "updated_at": now},
        "billing_schedules": [],
        "cancel_at_period_end": False,
        "cancellation_details": {"comment": None, "feedback": None, "reason": None},
        "collection_method": "charge_automatically",
        "created": now,
        "currency": "usd",
        "customer": customer,
        "default_tax_rates": [],
        "description": description,
        "discounts": [],
        "invoice_settings": {"account_tax_ids": None, "issuer": {"type": "self"}},
        "items": {
            "object": "list",
            "data": [],
            "has_more": False,
            "url": f"/v1/subscription_items?subscription={identifier}",
        },
        "livemode": False,
        "metadata": metadata,
        "payment_settings": {
            "payment_method_options": None,
            "payment_method_types": None,
            "save_default_payment_method": "off",
        },
        "start_date": now,
        "status": "active",
        "trial_settings": {"end_behavior": {"missing_payment_method": "create_invoice"}},
    }


def _item(store: ObjectStore, subscription: Object, line: Object) -> Object:
    price = catalogue.recurring_price(store, line["price"], param="line_items[0][price]")
    now = subscription["created"]
    return {
        "id": new_id("si"),
        "object": "subscription_item",
        "billing_thresholds": None,
        "created": now,
        "current_period_end": periods.period_end(now, price["recurring"]),
        "current_period_start": now,
        "discounts": [],
        "metadata": {},
        "plan": catalogue.plan(price),
        "price": dict(price),
        "quantity": line["quantity"],
        "subscription": subscription["id"],
        "tax_rates": [],
    }


def update(store: ObjectStore, sent: SubscriptionUpdate, identifier: str) -> Object:
    subscription = store.get("subscription", identifier)
    _refuse_update(subscription, sent)
    with store.changing(subscription, UPDATED_EVENT):
        _change(store, subscription, sent)
    return subscription


def _refuse_update(subscription: Object, sent: SubscriptionUpdate) -> None:
    given = sent.sent_fields().keys()
    if subscription["status"] in ENDED_STATUSES and given - {"metadata", "cancellation_details"}:
        raise errors.StripeError("A canceled subscription can only update its cancellation_details and metadata.")
    if sent.payment_behavior == "pending_if_incomplete" and (other := given - PENDING_UPDATE_PARAMETERS):
        raise errors.StripeError(
            f"When `payment_behavior` is set to `pending_if_incomplete`, you cannot pass {', '.join(sorted(other))}.",
            param="payment_behavior",
        )
    if {"cancel_at", "cancel_at_period_end"} <= given:
        raise errors.StripeError("You may only specify one of these parameters: cancel_at, cancel_at_period_end.")
    if subscription["schedule"] and given & {"cancel_at", "cancel_at_period_end"}:
        raise errors.StripeError(
            f"The subscription is managed by the subscription schedule `{subscription['schedule']}`, and updating any "
            "cancelation behavior directly is not allowed. Please update the schedule instead."
        )


def _change(store: ObjectStore, subscription: Object, sent: SubscriptionUpdate) -> None:
    given = sent.sent_fields()
    if "items" in given:
        price_changes.switch(store, subscription, sent)
    if "metadata" in given:
        subscription["metadata"] = merge_metadata(subscription["metadata"], sent.metadata)
    if "description" in given:
        subscription["description"] = sent.description
    if "cancel_at_period_end" in given:
        _set_cancel_at_period_end(store, subscription, sent.cancel_at_period_end)
    if "cancel_at" in given:
        set_cancel(store, subscription, _cancel_time(subscription, sent.cancel_at), at_period_end=False)
    _record_cancellation_details(subscription, sent.cancellation_details)


def _set_cancel_at_period_end(store: ObjectStore, subscription: Object, enabled: bool) -> None:
    if enabled:
        set_cancel(store, subscription, periods.current_period(subscription)[1], at_period_end=True)
    # A `cancel_at` that was set by itself, as by the portal, stays.
    elif subscription["cancel_at_period_end"]:
        set_cancel(store, subscription, None, at_period_end=False)


def _cancel_time(subscription: Object, cancel_at: int | str) -> int | None:
    ends = [item["current_period_end"] for item in subscription["items"]["data"]]
    named = {"": None, "min_period_end": min(ends), "max_period_end": max(ends)}
    return named[cancel_at] if isinstance(cancel_at, str) else cancel_at


def set_cancel(store: ObjectStore, subscription: Object, moment: int | None, *, at_period_end: bool) -> None:
    """Cancel a subscription at a moment in Unix seconds, or resume it for None."""
    subscription.update(cancel_at=moment, cancel_at_period_end=at_period_end)
    subscription["canceled_at"] = store.now() if moment else None
    subscription["cancellation_details"]["reason"] = "cancellation_requested" if moment else None


def _record_cancellation_details(subscription: Object, details: CancellationDetails | None) -> None:
    if details:
        subscription["cancellation_details"].update(details.sent_fields())


def cancel(store: ObjectStore, sent: SubscriptionCancel, identifier: str) -> Object:
    subscription = store.get("subscription", identifier)
    if subscription["status"] in ENDED_STATUSES:
        raise errors.resource_missing("subscription", identifier)
    _record_cancellation_details(subscription, sent.cancellation_details)
    end(store, subscription)
    return subscription


def end(
    store: ObjectStore, subscription: Object, *, reason: str = "cancellation_requested", at: int | None = None
) -> None:
    now = at or store.now()
    subscription.update(status="canceled", ended_at=now, canceled_at=subscription["canceled_at"] or now)
    subscription["cancellation_details"]["reason"] = reason
    if schedule := store.objects.get(subscription["schedule"] or ""):
        schedule.update(status="canceled", canceled_at=now, current_phase=None)
        store.emit("subscription_schedule.canceled", schedule)
    subscription["schedule"] = None
    store.emit("customer.subscription.deleted", subscription)
