"""Events of time: a period ends, a payment fails, a payment recovers."""

from tools.stripe_double import errors
from tools.stripe_double.resources import catalogue, invoices, periods, price_changes, schedules, subscriptions
from tools.stripe_double.state import Object, ObjectStore

UPDATED = subscriptions.UPDATED_EVENT


def end_period(store: ObjectStore, subscription: Object, at: int | None = None) -> None:
    """End the period: renew and pay the subscription, or end a canceled one."""
    _refuse_ended(subscription)
    # By default the period's end, so that each call advances one period.
    at = at or periods.current_period(subscription)[1]
    if _ends(store, subscription, at):
        subscriptions.end(store, subscription)
        return
    invoice = _renew(store, subscription, at)
    if subscription["customer"] in store.declined:
        _fail(store, subscription, invoice)
        return
    invoices.pay(store, invoice)
    if subscription["status"] != "active":
        with store.changing(subscription, UPDATED):
            subscription["status"] = "active"


def _refuse_ended(subscription: Object) -> None:
    if subscription["status"] in subscriptions.ENDED_STATUSES:
        raise errors.StripeError(f"The subscription is {subscription['status']}; it cannot change any more.")


def _ends(store: ObjectStore, subscription: Object, at: int) -> bool:
    if subscription["cancel_at_period_end"] or (subscription["cancel_at"] or at + 1) <= at:
        return True
    with store.changing(subscription, UPDATED):
        return not schedules.advance(store, subscription, at)


def _renew(store: ObjectStore, subscription: Object, at: int) -> Object:
    with store.changing(subscription, UPDATED):
        for item in subscription["items"]["data"]:
            end = periods.period_end(at, item["price"]["recurring"])
            item.update(current_period_start=at, current_period_end=end)
        lines = [invoices.line(item) for item in subscription["items"]["data"]]
        return invoices.create(store, subscription, reason="subscription_cycle", lines=lines, at=at)


def fail_payment(store: ObjectStore, subscription: Object, at: int | None = None) -> None:
    """Let a renewal's payment fail, so that the subscription is past due."""
    _refuse_ended(subscription)
    # An open invoice fails at its next attempt.
    opened = invoices.list_for_subscription(store, subscription["id"], status="open")
    _fail(store, subscription, opened[0] if opened else _renew(store, subscription, at or store.now()))


def _fail(store: ObjectStore, subscription: Object, invoice: Object) -> None:
    invoices.fail(store, invoice)
    with store.changing(subscription, UPDATED):
        subscription["status"] = "past_due"


def recover(store: ObjectStore, subscription: Object) -> None:
    """Pay the open invoices, apply a pending change and activate the subscription."""
    _refuse_ended(subscription)
    if subscription["customer"] in store.declined:
        store.declined.remove(subscription["customer"])
    for invoice in reversed(invoices.list_for_subscription(store, subscription["id"], status="open")):
        invoices.pay(store, invoice)
    _activate(store, subscription)


def _activate(store: ObjectStore, subscription: Object) -> None:
    with store.changing(subscription, UPDATED):
        if subscription["pending_update"]:
            price_changes.apply_pending(store, subscription)
        subscription["status"] = "active"


def set_status(store: ObjectStore, subscription: Object, status: str, start: int | None, end: int | None) -> None:
    """Set any status and period, also where Stripe would not, and send the event."""
    with store.changing(subscription, UPDATED):
        subscription["status"] = status
        for item in subscription["items"]["data"]:
            item["current_period_start"] = start or item["current_period_start"]
            item["current_period_end"] = end or item["current_period_end"]
        if status in subscriptions.ENDED_STATUSES:
            subscription["ended_at"] = store.now()


def set_price(store: ObjectStore, subscription: Object, price: str, quantity: int = 1) -> None:
    found = catalogue.recurring_price(store, price, param="price")
    with store.changing(subscription, UPDATED):
        item = subscription["items"]["data"][0]
        item.update(price=dict(found), plan=catalogue.plan(found), quantity=quantity)
