"""A subscription's change of price, and what is charged for the rest of the period."""

import copy

from tools.stripe_double import errors
from tools.stripe_double.params_subscriptions import ItemUpdate, SubscriptionUpdate
from tools.stripe_double.resources import catalogue, invoices, periods
from tools.stripe_double.state import Object, World, new_id

PENDING_S = 23 * 3600


def switch(world: World, subscription: Object, sent: SubscriptionUpdate) -> None:
    """Give items another price or quantity, as the payment behaviour says.

    With `always_invoice` the difference is charged at once. A card that is declined leaves the change pending
    (`pending_if_incomplete`), refuses it (`error_if_incomplete`) or makes the subscription past due.

    Raises:
        Refusal: an unknown item or price, or a declined card.
    """
    old, new = subscription["items"]["data"], _changed(world, subscription, sent.items)
    if sent.proration_behavior != "always_invoice" or new == old:
        _apply(world, subscription, new)
        return
    declined = subscription["customer"] in world.declined
    if declined and sent.payment_behavior == "error_if_incomplete":
        raise errors.Refusal("Your card was declined.", status=402, code="card_declined", kind="card_error")
    invoice = invoices.create(
        world, subscription, reason="subscription_update", lines=_difference(world.now(), old, new)
    )
    if invoice["amount_due"] and declined:
        invoices.fail(world, invoice)
        _unpaid(world, subscription, new, sent.payment_behavior)
        return
    _apply(world, subscription, new)
    invoices.pay(world, invoice)


def _unpaid(world: World, subscription: Object, new: list[Object], behavior: str) -> None:
    if behavior == "pending_if_incomplete":
        subscription["pending_update"] = {
            "billing_cycle_anchor": None,
            "expires_at": world.now() + PENDING_S,
            "subscription_items": new,
            "trial_end": None,
            "trial_from_plan": None,
        }
        return
    _apply(world, subscription, new)
    subscription["status"] = "past_due"


def _changed(world: World, subscription: Object, wanted: list[ItemUpdate]) -> list[Object]:
    """The items after the change; one that is sent without an id is a further item, as at Stripe."""
    items = {item["id"]: item for item in copy.deepcopy(subscription["items"]["data"])}
    for position, update in enumerate(wanted):
        if update.id and update.id not in items:
            raise errors.missing("subscription item", update.id, param=f"items[{position}][id]")
        if update.deleted:
            items.pop(update.id or "")
            continue
        old = items[update.id] if update.id else _further(subscription)
        param = f"items[{position}][price]"
        price = catalogue.recurring_price(world, update.price or old["price"]["id"], param=param)
        items[old["id"]] = repriced(world, old, price, update.quantity or old["quantity"])
    return list(items.values())


def _further(subscription: Object) -> Object:
    like = copy.deepcopy(subscription["items"]["data"][0])
    return {**like, "id": new_id("si"), "quantity": 1, "metadata": {}}


def repriced(world: World, item: Object, price: Object, quantity: int) -> Object:
    """The item with another price; another interval begins a new period now."""
    changed = {**item, "price": dict(price), "plan": catalogue.plan(price), "quantity": quantity}
    if price["recurring"] != item["price"]["recurring"]:
        now = world.now()
        changed.update(current_period_start=now, current_period_end=periods.after(now, price["recurring"]))
    return changed


def _apply(world: World, subscription: Object, items: list[Object]) -> None:
    subscription["items"]["data"] = items
    subscription["pending_update"] = None
    if schedule := world.objects.get(subscription["schedule"] or ""):
        phase = next(
            each for each in schedule["phases"] if each["start_date"] == schedule["current_phase"]["start_date"]
        )
        for planned, item in zip(phase["items"], items, strict=False):
            planned.update(price=item["price"]["id"], plan=item["price"]["id"], quantity=item["quantity"])


def apply_pending(world: World, subscription: Object) -> None:
    """What waited for its payment takes effect."""
    _apply(world, subscription, subscription["pending_update"]["subscription_items"])


def _difference(now: int, old: list[Object], new: list[Object]) -> list[Object]:
    gone = [_rest(item, now, sign=-1, what="Unused time") for item in old if item not in new]
    return gone + [_rest(item, now, sign=1, what="Remaining time") for item in new if item not in old]


def _rest(item: Object, now: int, *, sign: int, what: str) -> Object:
    start, end = item["current_period_start"], item["current_period_end"]
    begins = min(max(now, start), end)
    full = (item["price"]["unit_amount"] or 0) * (item["quantity"] or 0)
    amount = round(sign * full * (end - begins) / (end - start))
    name = item["price"]["nickname"] or item["price"]["lookup_key"] or item["price"]["id"]
    return invoices.line(item, amount=amount, period=(begins, end), what=f"{what} on {name}")
