"""What time brings to a subscription: its period ends, its card fails or pays again."""

from tools.stripe_double import errors
from tools.stripe_double.resources import catalogue, invoices, periods, price_changes, schedules, subscriptions
from tools.stripe_double.state import Object, World

UPDATED = subscriptions.UPDATED


def end_period(world: World, subscription: Object, at: int | None = None) -> None:
    """The period is over: the subscription renews and is paid, or ends where it was to end.

    Args:
        at: when, in seconds; the period's end unless it is told, so that each call moves the period on.
    """
    _refuse_ended(subscription)
    at = at or periods.of(subscription)[1]
    if _ends(world, subscription, at):
        subscriptions.end(world, subscription)
        return
    invoice = _renew(world, subscription, at)
    if subscription["customer"] in world.declined:
        _fail(world, subscription, invoice)
        return
    invoices.pay(world, invoice)
    if subscription["status"] != "active":
        with world.changing(subscription, UPDATED):
            subscription["status"] = "active"


def _refuse_ended(subscription: Object) -> None:
    if subscription["status"] in subscriptions.ENDED:
        raise errors.Refusal(f"The subscription is {subscription['status']}; nothing becomes of it any more.")


def _ends(world: World, subscription: Object, at: int) -> bool:
    if subscription["cancel_at_period_end"] or (subscription["cancel_at"] or at + 1) <= at:
        return True
    with world.changing(subscription, UPDATED):
        return not schedules.follow(world, subscription, at)


def _renew(world: World, subscription: Object, at: int) -> Object:
    with world.changing(subscription, UPDATED):
        for item in subscription["items"]["data"]:
            end = periods.after(at, item["price"]["recurring"])
            item.update(current_period_start=at, current_period_end=end)
        lines = [invoices.line(item) for item in subscription["items"]["data"]]
        return invoices.create(world, subscription, reason="subscription_cycle", lines=lines, at=at)


def fail_payment(world: World, subscription: Object, at: int | None = None) -> None:
    """A renewal that the card does not pay, at `at` in seconds (now, unless it is told): past due.

    Where an invoice is open already, its next attempt fails.
    """
    _refuse_ended(subscription)
    opened = invoices.of_subscription(world, subscription["id"], status="open")
    _fail(world, subscription, opened[0] if opened else _renew(world, subscription, at or world.now()))


def _fail(world: World, subscription: Object, invoice: Object) -> None:
    invoices.fail(world, invoice)
    with world.changing(subscription, UPDATED):
        subscription["status"] = "past_due"


def recover(world: World, subscription: Object) -> None:
    """The card pays again: open invoices are paid, a pending change takes effect, the subscription is active."""
    _refuse_ended(subscription)
    if subscription["customer"] in world.declined:
        world.declined.remove(subscription["customer"])
    for invoice in reversed(invoices.of_subscription(world, subscription["id"], status="open")):
        invoices.pay(world, invoice)
    _active(world, subscription)


def _active(world: World, subscription: Object) -> None:
    with world.changing(subscription, UPDATED):
        if subscription["pending_update"]:
            price_changes.apply_pending(world, subscription)
        subscription["status"] = "active"


def set_status(world: World, subscription: Object, status: str, start: int | None, end: int | None) -> None:
    """Any status and period, with the event that tells of it, whether Stripe would come to it or not."""
    with world.changing(subscription, UPDATED):
        subscription["status"] = status
        for item in subscription["items"]["data"]:
            item["current_period_start"] = start or item["current_period_start"]
            item["current_period_end"] = end or item["current_period_end"]
        if status in subscriptions.ENDED:
            subscription["ended_at"] = world.now()


def set_price(world: World, subscription: Object, price: str, quantity: int = 1) -> None:
    """Any price on the first item, with no invoice."""
    found = catalogue.recurring_price(world, price, param="price")
    with world.changing(subscription, UPDATED):
        item = subscription["items"]["data"][0]
        item.update(price=dict(found), plan=catalogue.plan(found), quantity=quantity)
