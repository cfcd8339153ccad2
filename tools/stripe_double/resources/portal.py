"""The billing portal: configurations, sessions and the actions of its buttons."""

from typing import Any

from tools.stripe_double import errors
from tools.stripe_double.object_fields import merge_metadata
from tools.stripe_double.params_portal import ConfigurationCreate, ConfigurationUpdate, FlowData, PortalCreate
from tools.stripe_double.params_subscriptions import ScheduleCreate, ScheduleUpdate, SubscriptionUpdate
from tools.stripe_double.resources import account, customers, periods, schedules, subscriptions
from tools.stripe_double.state import Object, ObjectStore, new_id


def create(store: ObjectStore, sent: PortalCreate) -> Object:
    customers.get_existing(store, sent.customer)
    configuration = sent.configuration or store.all("billing_portal.configuration", is_default=True)[0]["id"]
    known = store.get("billing_portal.configuration", configuration, param="configuration")
    identifier = new_id("bps")
    created = {
        "id": identifier,
        "object": "billing_portal.session",
        "configuration": configuration,
        "created": store.now(),
        "customer": sent.customer,
        "customer_account": None,
        "flow": _flow(store, sent.flow_data),
        "livemode": False,
        "locale": sent.locale,
        "on_behalf_of": None,
        "return_url": sent.return_url or known["default_return_url"],
        "url": f"{store.url}/portal/{identifier}",
    }
    return store.add(created, "billing_portal.session.created")


def _flow(store: ObjectStore, sent: FlowData | None) -> Object | None:
    if not sent:
        return None
    values = sent.model_dump()
    for kind in ("subscription_cancel", "subscription_update", "subscription_update_confirm"):
        if of := values[kind]:
            store.get("subscription", of["subscription"], param=f"flow_data[{kind}][subscription]")
    return values


def create_configuration(store: ObjectStore, sent: ConfigurationCreate) -> Object:
    created = account.configuration(store.now(), identifier=new_id("bpc"))
    for feature in created["features"].values():
        feature["enabled"] = False  # a configuration that a client creates allows only what it names
    _configure(created, sent)
    return store.add(created, "billing_portal.configuration.created")


def update_configuration(store: ObjectStore, sent: ConfigurationUpdate, identifier: str) -> Object:
    stored = store.get("billing_portal.configuration", identifier)
    with store.changing(stored, "billing_portal.configuration.updated"):
        _configure(stored, sent)
    return stored


def _configure(stored: Object, sent: ConfigurationCreate | ConfigurationUpdate) -> None:
    values = sent.model_dump(exclude_unset=True, exclude={"expand", "metadata"})
    if "metadata" in sent.model_fields_set:
        values["metadata"] = merge_metadata(stored["metadata"], sent.metadata)
    _fill(stored, values)
    for product in stored["features"]["subscription_update"]["products"] or []:
        product.setdefault("adjustable_quantity", {"enabled": False, "maximum": None, "minimum": 1})


def _fill(stored: Object, sent: dict[str, Any]) -> None:
    """Replace the fields that were sent, and keep the others."""
    for name, value in sent.items():
        if name != "metadata" and isinstance(value, dict):
            _fill(stored[name], value)
        else:
            stored[name] = value


def allowed_prices(store: ObjectStore, session: Object) -> list[Object]:
    """Return the prices that the portal's customer may change to."""
    update = store.objects[session["configuration"]]["features"]["subscription_update"]
    if not update["enabled"]:
        return []
    listed = [price for product in update["products"] or [] for price in product["prices"]]
    prices = [price for price in store.all("price", active=True) if price["recurring"]]
    # The configuration's prices; without any, all with a lookup key.
    chosen = [price for price in prices if (price["id"] in listed if listed else price["lookup_key"])]
    return sorted(chosen, key=lambda price: price["unit_amount"])


def switch(store: ObjectStore, session: Object, subscription: Object, price: str) -> None:
    """Change the price at once, or a cheaper one at the period's end if so configured."""
    allowed = {each["id"]: each for each in allowed_prices(store, session)}
    item = subscription["items"]["data"][0]
    if price not in allowed:
        raise errors.StripeError("The portal's configuration does not offer this price.")
    update = store.objects[session["configuration"]]["features"]["subscription_update"]
    waits = {"type": "decreasing_item_amount"} in update["schedule_at_period_end"]["conditions"]
    if waits and allowed[price]["unit_amount"] < item["price"]["unit_amount"]:
        _schedule(store, subscription, item, price)
        return
    sent = {
        "items": [{"id": item["id"], "price": price}],
        "proration_behavior": update["proration_behavior"],
        "payment_behavior": "pending_if_incomplete",
    }
    subscriptions.update(store, SubscriptionUpdate.model_validate(sent), subscription["id"])


def _schedule(store: ObjectStore, subscription: Object, item: Object, price: str) -> None:
    schedule = subscription["schedule"]
    if not schedule:
        schedule = schedules.create(store, ScheduleCreate(from_subscription=subscription["id"]))["id"]
    start, end = periods.current_period(subscription)
    now = {"items": [{"price": item["price"]["id"]}], "start_date": start, "end_date": end}
    then = {"items": [{"price": price}]}
    schedules.update(store, ScheduleUpdate.model_validate({"phases": [now, then]}), schedule)


def cancel(store: ObjectStore, session: Object, subscription: Object) -> None:
    """Cancel at the period's end, and release a schedule."""
    feature = store.objects[session["configuration"]]["features"]["subscription_cancel"]
    if not feature["enabled"]:
        raise errors.StripeError("The portal's configuration does not let customers cancel.")
    if feature["mode"] == "immediately":
        subscriptions.end(store, subscription)
        return
    _without_schedule(store, subscription)
    with store.changing(subscription, subscriptions.UPDATED_EVENT):
        # On flexible billing the portal sets `cancel_at`.
        subscriptions.set_cancel(store, subscription, periods.current_period(subscription)[1], at_period_end=False)


def resume(store: ObjectStore, session: Object, subscription: Object) -> None:
    _without_schedule(store, subscription)
    with store.changing(subscription, subscriptions.UPDATED_EVENT):
        subscriptions.set_cancel(store, subscription, None, at_period_end=False)


def _without_schedule(store: ObjectStore, subscription: Object) -> None:
    if not subscription["schedule"]:
        return
    schedules.release_subscription(store, store.objects[subscription["schedule"]])
    with store.changing(subscription, subscriptions.UPDATED_EVENT):
        subscription["schedule"] = None
