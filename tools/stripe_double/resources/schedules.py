"""Subscription schedules: changes that wait for the end of a period."""

from typing import Any

from tools.stripe_double import errors
from tools.stripe_double.object_fields import merge_metadata
from tools.stripe_double.params import Proration
from tools.stripe_double.params_subscriptions import Phase, PhaseItem, ScheduleCreate, ScheduleRelease, ScheduleUpdate
from tools.stripe_double.resources import catalogue, periods, price_changes
from tools.stripe_double.state import Object, ObjectStore, new_id

UNUSED_IN_PHASE: dict[str, Any] = dict.fromkeys(
    (
        "application_fee_percent",
        "billing_cycle_anchor",
        "billing_thresholds",
        "collection_method",
        "default_payment_method",
        "description",
        "invoice_settings",
        "on_behalf_of",
        "transfer_data",
        "trial_end",
    )
)


def create(store: ObjectStore, sent: ScheduleCreate) -> Object:
    """Create a schedule whose only phase is the subscription's current state."""
    subscription = store.get("subscription", sent.from_subscription, param="from_subscription")
    if subscription["schedule"]:
        raise errors.StripeError(
            "You cannot migrate a subscription that is already attached to a schedule: "
            f"`{subscription['schedule']}`. To update a subscription schedule, use the update endpoint."
        )
    start, end = periods.current_period(subscription)
    now_items = [PhaseItem(price=i["price"]["id"], quantity=i["quantity"]) for i in subscription["items"]["data"]]
    created = _blank(store, subscription, merge_metadata({}, sent.metadata))
    created["phases"] = [_phase(subscription["currency"], now_items, start, end, "create_prorations")]
    created["current_phase"] = {"start_date": start, "end_date": end}
    store.add(created, "subscription_schedule.created")
    with store.changing(subscription, "customer.subscription.updated"):
        subscription["schedule"] = created["id"]
    return created


def _blank(store: ObjectStore, subscription: Object, metadata: dict[str, str]) -> Object:
    return {
        "id": new_id("sub_sched"),
        "object": "subscription_schedule",
        "application": None,
        "billing_mode": dict(subscription["billing_mode"]),
        "canceled_at": None,
        "completed_at": None,
        "created": store.now(),
        "customer": subscription["customer"],
        "customer_account": None,
        "default_settings": {
            "application_fee_percent": None,
            "automatic_tax": {"disabled_reason": None, "enabled": False, "liability": None},
            "billing_cycle_anchor": "automatic",
            "billing_thresholds": None,
            "collection_method": "charge_automatically",
            "default_payment_method": None,
            "description": None,
            "invoice_settings": {"account_tax_ids": None, "days_until_due": None, "issuer": {"type": "self"}},
            "on_behalf_of": None,
            "transfer_data": None,
        },
        "end_behavior": "release",
        "livemode": False,
        "metadata": metadata,
        "released_at": None,
        "released_subscription": None,
        "status": "active",
        "subscription": subscription["id"],
        "test_clock": None,
    }


def _phase(
    currency: str,
    items: list[PhaseItem],
    start: int,
    end: int,
    proration: Proration,
    metadata: dict[str, str] | None = None,
) -> Object:
    return {
        **UNUSED_IN_PHASE,
        "add_invoice_items": [],
        "automatic_tax": {"disabled_reason": None, "enabled": False, "liability": None},
        "currency": currency,
        "default_tax_rates": [],
        "discounts": [],
        "end_date": end,
        "items": [_item(item) for item in items],
        "metadata": metadata or {},
        "proration_behavior": proration,
        "start_date": start,
    }


def _item(item: PhaseItem) -> Object:
    return {
        "billing_thresholds": None,
        "discounts": [],
        "metadata": {},
        "plan": item.price,
        "price": item.price,
        "quantity": item.quantity,
        "tax_rates": [],
    }


def update(store: ObjectStore, sent: ScheduleUpdate, identifier: str) -> Object:
    """Replace a schedule's phases; the first must start where the current one did."""
    schedule = _get_changeable(store, identifier)
    given = sent.sent_fields()
    with store.changing(schedule, "subscription_schedule.updated"):
        if "phases" in given:
            schedule["phases"] = _plan_phases(store, schedule, sent.phases)
            first = schedule["phases"][0]
            schedule["current_phase"] = {"start_date": first["start_date"], "end_date": first["end_date"]}
        if "end_behavior" in given:
            schedule["end_behavior"] = sent.end_behavior
        if "metadata" in given:
            schedule["metadata"] = merge_metadata(schedule["metadata"], sent.metadata)
    return schedule


def _plan_phases(store: ObjectStore, schedule: Object, phases: list[Phase]) -> list[Object]:
    begins = schedule["current_phase"]["start_date"]
    if not phases or phases[0].start_date not in (begins, None):
        raise errors.StripeError(
            "You can not modify the start date of the current phase.", param="phases[0][start_date]"
        )
    planned = []
    for position, phase in enumerate(phases):
        if phase.start_date not in (begins, None):
            param = f"phases[{position}][start_date]"
            raise errors.StripeError("A phase must begin where the one before ends.", param=param)
        ends = _phase_end(store, phase, begins, position, last=position == len(phases) - 1)
        currency = schedule["phases"][0]["currency"]
        planned.append(_phase(currency, phase.items, begins, ends, phase.proration_behavior, phase.metadata))
        begins = ends
    return planned


def _phase_end(store: ObjectStore, phase: Phase, begins: int, position: int, *, last: bool) -> int:
    prices = [
        catalogue.recurring_price(store, item.price, param=f"phases[{position}][items][{number}][price]")
        for number, item in enumerate(phase.items)
    ]
    if isinstance(phase.end_date, int):
        return phase.end_date
    if phase.end_date == "now":
        return store.now()
    if phase.duration:
        return periods.period_end(begins, phase.duration.model_dump())
    if not last:
        raise errors.StripeError("A phase needs an `end_date` or a `duration`.", param=f"phases[{position}][end_date]")
    return periods.period_end(begins, prices[0]["recurring"])


def _get_changeable(store: ObjectStore, identifier: str) -> Object:
    schedule = store.get("subscription_schedule", identifier)
    if schedule["status"] not in ("active", "not_started"):
        raise errors.StripeError(
            f"The subscription schedule is in the `{schedule['status']}` status and cannot be changed or released."
        )
    return schedule


def release(store: ObjectStore, sent: ScheduleRelease, identifier: str) -> Object:
    schedule = _get_changeable(store, identifier)
    subscription = store.get("subscription", schedule["subscription"])
    release_subscription(store, schedule)
    with store.changing(subscription, "customer.subscription.updated"):
        subscription["schedule"] = None
    return schedule


def release_subscription(store: ObjectStore, schedule: Object) -> None:
    """Release a schedule's subscription; the caller clears `schedule` on it."""
    with store.changing(schedule, "subscription_schedule.updated"):
        schedule.update(released_subscription=schedule["subscription"], subscription=None, current_phase=None)
        schedule.update(status="released", released_at=store.now())
    store.emit("subscription_schedule.released", schedule)


def advance(store: ObjectStore, subscription: Object, at: int) -> bool:
    """Enter the phase that starts at a period's end; return whether to go on."""
    schedule = store.objects.get(subscription["schedule"] or "")
    if not schedule:
        return True
    started = [phase for phase in schedule["phases"] if phase["start_date"] <= at < phase["end_date"]]
    if started:
        _enter_phase(store, schedule, subscription, started[0])
        return True
    if schedule["end_behavior"] == "cancel":
        return False
    release_subscription(store, schedule)
    subscription["schedule"] = None
    return True


def _enter_phase(store: ObjectStore, schedule: Object, subscription: Object, phase: Object) -> None:
    current = {"start_date": phase["start_date"], "end_date": phase["end_date"]}
    with store.changing(schedule, "subscription_schedule.updated"):
        schedule["current_phase"] = current
    for item, planned in zip(subscription["items"]["data"], phase["items"], strict=False):
        price = store.get("price", planned["price"])
        item.update(price_changes.with_price(store, item, price, planned["quantity"]))
