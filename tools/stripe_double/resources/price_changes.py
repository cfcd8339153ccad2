"""Changes of a subscription's price, and the charges for the rest of the period."""

import copy

from tools.stripe_double import errors
from tools.stripe_double.params_subscriptions import ItemUpdate, SubscriptionUpdate
from tools.stripe_double.resources import catalogue, invoices, periods
from tools.stripe_double.state import Object, ObjectStore, new_id

PENDING_UPDATE_LIFETIME_S = 23 * 3600


def switch(store: ObjectStore, subscription: Object, sent: SubscriptionUpdate) -> None:
    """Change price or quantity of items, as the payment behaviour says."""
    old, new = subscription["items"]["data"], _changed_items(store, subscription, sent.items)
    if sent.proration_behavior != "always_invoice" or new == old:
        _apply(store, subscription, new)
        return
    # With `always_invoice` the difference is charged at once. A declined card leaves the change pending, refuses the
    # change, or makes the subscription past due.
    declined = subscription["customer"] in store.declined
    if declined and sent.payment_behavior == "error_if_incomplete":
        raise errors.StripeError("Your card was declined.", status=402, code="card_declined", kind="card_error")
    invoice = invoices.create(
        store, subscription, reason="subscription_update", lines=_proration_lines(store.now(), old, new)
    )
    if invoice["amount_due"] and declined:
        invoices.fail(store, invoice)
        _handle_declined(store, subscription, new, sent.payment_behavior)
        return
    _apply(store, subscription, new)
    invoices.pay(store, invoice)


def _handle_declined(store: ObjectStore, subscription: Object, new: list[Object], behavior: str) -> None:
    if behavior == "pending_if_incomplete":
        subscription["pending_update"] = {
            "billing_cycle_anchor": None,
            "expires_at": store.now() + PENDING_UPDATE_LIFETIME_S,
            "subscription_items": new,
            "trial_end": None,
            "trial_from_plan": None,
        }
        return
    _apply(store, subscription, new)
    subscription["status"] = "past_due"


def _changed_items(store: ObjectStore, subscription: Object, updates: list[ItemUpdate]) -> list[Object]:
    items = {item["id"]: item for item in copy.deepcopy(subscription["items"]["data"])}
    for position, update in enumerate(updates):
        if update.id and update.id not in items:
            raise errors.resource_missing("subscription item", update.id, param=f"items[{position}][id]")
        if update.deleted:
            items.pop(update.id or "")
            continue
        # An item without an id is added.
        old = items[update.id] if update.id else _new_item(subscription)
        param = f"items[{position}][price]"
        price = catalogue.recurring_price(store, update.price or old["price"]["id"], param=param)
        items[old["id"]] = with_price(store, old, price, update.quantity or old["quantity"])
    return list(items.values())


def _new_item(subscription: Object) -> Object:
    like = copy.deepcopy(subscription["items"]["data"][0])
    return {**like, "id": new_id("si"), "quantity": 1, "metadata": {}}


def with_price(store: ObjectStore, item: Object, price: Object, quantity: int) -> Object:
    """Return an item with another price; another interval starts a new period now."""
    changed = {**item, "price": dict(price), "plan": catalogue.plan(price), "quantity": quantity}
    if price["recurring"] != item["price"]["recurring"]:
        now = store.now()
        changed.update(current_period_start=now, current_period_end=periods.period_end(now, price["recurring"]))
    return changed


def _apply(store: ObjectStore, subscription: Object, items: list[Object]) -> None:
    subscription["items"]["data"] = items
    subscription["pending_update"] = None
    if schedule := store.objects.get(subscription["schedule"] or ""):
        phase = next(
            each for each in schedule["phases"] if each["start_date"] == schedule["current_phase"]["start_date"]
        )
        for planned, item in zip(phase["items"], items, strict=False):
            planned.update(price=item["price"]["id"], plan=item["price"]["id"], quantity=item["quantity"])


def apply_pending(store: ObjectStore, subscription: Object) -> None:
    _apply(store, subscription, subscription["pending_update"]["subscription_items"])


def _proration_lines(now: int, old: list[Object], new: list[Object]) -> list[Object]:
    gone = [_proration_line(item, now, sign=-1, what="Unused time") for item in old if item not in new]
    return gone + [_proration_line(item, now, sign=1, what="Remaining time") for item in new if item not in old]


def _proration_line(item: Object, now: int, *, sign: int, what: str) -> Object:
    start, end = item["current_period_start"], item["current_period_end"]
    begins = min(max(now, start), end)
    full = (item["price"]["unit_amount"] or 0) * (item["quantity"] or 0)
    amount = round(sign * full * (end - begins) / (end - start))
    name = item["price"]["nickname"] or item["price"]["lookup_key"] or item["price"]["id"]
    return invoices.line(item, amount=amount, period=(begins, end), what=f"{what} on {name}")
