"""Subscriptions: how one begins, what of it can be changed, how it ends."""

from typing import Any

from tools.stripe_double import errors
from tools.stripe_double.merging import merged
from tools.stripe_double.params_subscriptions import CancellationDetails, SubscriptionCancel, SubscriptionUpdate
from tools.stripe_double.resources import catalogue, invoices, periods, price_changes
from tools.stripe_double.state import Object, World, new_id

ENDED = ("canceled", "incomplete_expired")
UPDATED = "customer.subscription.updated"
PENDING_TAKES = {"items", "payment_behavior", "proration_behavior"}

UNUSED: dict[str, Any] = dict.fromkeys(
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
    world: World, *, customer: str, lines: list[Object], metadata: dict[str, str], description: str | None = None
) -> Object:
    """A subscription that is paid from now on, with its first invoice and their events.

    Args:
        lines: `price` (an id) and `quantity` each.
    """
    made = _blank(world, customer, metadata, description)
    made["items"]["data"] = [_item(world, made, each) for each in lines]
    made["currency"] = made["items"]["data"][0]["price"]["currency"]
    bill = [invoices.line(item) for item in made["items"]["data"]]
    invoice = invoices.create(world, made, reason="subscription_create", lines=bill)
    world.add(made, "customer.subscription.created")
    with world.changing(world.objects[customer], "customer.updated") as owner:
        owner["currency"] = made["currency"]
    invoices.pay(world, invoice)
    return made


def _blank(world: World, customer: str, metadata: dict[str, str], description: str | None) -> Object:
    identifier, now = new_id("sub"), world.now()
    return {
        "id": identifier,
        "object": "subscription",
        **UNUSED,
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


def _item(world: World, subscription: Object, wanted: Object) -> Object:
    price = catalogue.recurring_price(world, wanted["price"], param="line_items[0][price]")
    now = subscription["created"]
    return {
        "id": new_id("si"),
        "object": "subscription_item",
        "billing_thresholds": None,
        "created": now,
        "current_period_end": periods.after(now, price["recurring"]),
        "current_period_start": now,
        "discounts": [],
        "metadata": {},
        "plan": catalogue.plan(price),
        "price": dict(price),
        "quantity": wanted["quantity"],
        "subscription": subscription["id"],
        "tax_rates": [],
    }


def update(world: World, sent: SubscriptionUpdate, identifier: str) -> Object:
    subscription = world.get("subscription", identifier)
    _refuse_update(subscription, sent)
    with world.changing(subscription, UPDATED):
        _change(world, subscription, sent)
    return subscription


def _refuse_update(subscription: Object, sent: SubscriptionUpdate) -> None:
    given = sent.given().keys()
    if subscription["status"] in ENDED and given - {"metadata", "cancellation_details"}:
        raise errors.Refusal("A canceled subscription can only update its cancellation_details and metadata.")
    if sent.payment_behavior == "pending_if_incomplete" and (other := given - PENDING_TAKES):
        raise errors.Refusal(
            f"When `payment_behavior` is set to `pending_if_incomplete`, you cannot pass {', '.join(sorted(other))}.",
            param="payment_behavior",
        )
    if {"cancel_at", "cancel_at_period_end"} <= given:
        raise errors.Refusal("You may only specify one of these parameters: cancel_at, cancel_at_period_end.")
    if subscription["schedule"] and given & {"cancel_at", "cancel_at_period_end"}:
        raise errors.Refusal(
            f"The subscription is managed by the subscription schedule `{subscription['schedule']}`, and updating any "
            "cancelation behavior directly is not allowed. Please update the schedule instead."
        )


def _change(world: World, subscription: Object, sent: SubscriptionUpdate) -> None:
    given = sent.given()
    if "items" in given:
        price_changes.switch(world, subscription, sent)
    if "metadata" in given:
        subscription["metadata"] = merged(subscription["metadata"], sent.metadata)
    if "description" in given:
        subscription["description"] = sent.description
    if "cancel_at_period_end" in given:
        _at_period_end(world, subscription, sent.cancel_at_period_end)
    if "cancel_at" in given:
        set_cancel(world, subscription, _moment(subscription, sent.cancel_at), at_period_end=False)
    _say_why(subscription, sent.cancellation_details)


def _at_period_end(world: World, subscription: Object, wanted: bool) -> None:
    """A `cancel_at` that was set by itself, as by the portal, only goes when it is itself unset."""
    if wanted:
        set_cancel(world, subscription, periods.of(subscription)[1], at_period_end=True)
    elif subscription["cancel_at_period_end"]:
        set_cancel(world, subscription, None, at_period_end=False)


def _moment(subscription: Object, wanted: int | str) -> int | None:
    ends = [item["current_period_end"] for item in subscription["items"]["data"]]
    named = {"": None, "min_period_end": min(ends), "max_period_end": max(ends)}
    return named[wanted] if isinstance(wanted, str) else wanted


def set_cancel(world: World, subscription: Object, moment: int | None, *, at_period_end: bool) -> None:
    """Let a subscription end at a moment in seconds, or go on where that is None."""
    subscription.update(cancel_at=moment, cancel_at_period_end=at_period_end)
    subscription["canceled_at"] = world.now() if moment else None
    subscription["cancellation_details"]["reason"] = "cancellation_requested" if moment else None


def _say_why(subscription: Object, details: CancellationDetails | None) -> None:
    if details:
        subscription["cancellation_details"].update(details.given())


def cancel(world: World, sent: SubscriptionCancel, identifier: str) -> Object:
    subscription = world.get("subscription", identifier)
    if subscription["status"] in ENDED:
        raise errors.missing("subscription", identifier)
    _say_why(subscription, sent.cancellation_details)
    end(world, subscription)
    return subscription


def end(world: World, subscription: Object, *, reason: str = "cancellation_requested", at: int | None = None) -> None:
    """End a subscription now; a schedule of it ends with it."""
    now = at or world.now()
    subscription.update(status="canceled", ended_at=now, canceled_at=subscription["canceled_at"] or now)
    subscription["cancellation_details"]["reason"] = reason
    if schedule := world.objects.get(subscription["schedule"] or ""):
        schedule.update(status="canceled", canceled_at=now, current_phase=None)
        world.emit("subscription_schedule.canceled", schedule)
    subscription["schedule"] = None
    world.emit("customer.subscription.deleted", subscription)
