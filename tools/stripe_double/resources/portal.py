"""The billing portal: its configurations, its sessions, and what its buttons do."""

from typing import Any

from tools.stripe_double import errors
from tools.stripe_double.merging import merged
from tools.stripe_double.params_portal import ConfigurationCreate, ConfigurationUpdate, FlowData, PortalCreate
from tools.stripe_double.params_subscriptions import ScheduleCreate, ScheduleUpdate, SubscriptionUpdate
from tools.stripe_double.resources import account, customers, periods, schedules, subscriptions
from tools.stripe_double.state import Object, World, new_id


def create(world: World, sent: PortalCreate) -> Object:
    customers.living(world, sent.customer)
    configuration = sent.configuration or world.all("billing_portal.configuration", is_default=True)[0]["id"]
    known = world.get("billing_portal.configuration", configuration, param="configuration")
    identifier = new_id("bps")
    made = {
        "id": identifier,
        "object": "billing_portal.session",
        "configuration": configuration,
        "created": world.now(),
        "customer": sent.customer,
        "customer_account": None,
        "flow": _flow(world, sent.flow_data),
        "livemode": False,
        "locale": sent.locale,
        "on_behalf_of": None,
        "return_url": sent.return_url or known["default_return_url"],
        "url": f"{world.url}/portal/{identifier}",
    }
    return world.add(made, "billing_portal.session.created")


def _flow(world: World, sent: FlowData | None) -> Object | None:
    if not sent:
        return None
    values = sent.model_dump()
    for kind in ("subscription_cancel", "subscription_update", "subscription_update_confirm"):
        if of := values[kind]:
            world.get("subscription", of["subscription"], param=f"flow_data[{kind}][subscription]")
    return values


def create_configuration(world: World, sent: ConfigurationCreate) -> Object:
    made = account.configuration(world.now(), identifier=new_id("bpc"))
    for feature in made["features"].values():
        feature["enabled"] = False  # a configuration of one's own allows what it names
    _configure(made, sent)
    return world.add(made, "billing_portal.configuration.created")


def update_configuration(world: World, sent: ConfigurationUpdate, identifier: str) -> Object:
    kept = world.get("billing_portal.configuration", identifier)
    with world.changing(kept, "billing_portal.configuration.updated"):
        _configure(kept, sent)
    return kept


def _configure(kept: Object, sent: ConfigurationCreate | ConfigurationUpdate) -> None:
    values = sent.model_dump(exclude_unset=True, exclude={"expand", "metadata"})
    if "metadata" in sent.model_fields_set:
        values["metadata"] = merged(kept["metadata"], sent.metadata)
    _fill(kept, values)
    for product in kept["features"]["subscription_update"]["products"] or []:
        product.setdefault("adjustable_quantity", {"enabled": False, "maximum": None, "minimum": 1})


def _fill(kept: Object, sent: dict[str, Any]) -> None:
    """Put what was sent in its place; what was not sent stays."""
    for name, value in sent.items():
        if name != "metadata" and isinstance(value, dict):
            _fill(kept[name], value)
        else:
            kept[name] = value


def allowed_prices(world: World, session: Object) -> list[Object]:
    """What the portal's customer may switch to: the configuration's prices, else all that have a lookup key."""
    update = world.objects[session["configuration"]]["features"]["subscription_update"]
    if not update["enabled"]:
        return []
    listed = [price for product in update["products"] or [] for price in product["prices"]]
    prices = [price for price in world.all("price", active=True) if price["recurring"]]
    chosen = [price for price in prices if (price["id"] in listed if listed else price["lookup_key"])]
    return sorted(chosen, key=lambda price: price["unit_amount"])


def switch(world: World, session: Object, subscription: Object, price: str) -> None:
    """Another plan, at once; a cheaper one at the period's end, where the configuration wants that."""
    allowed = {each["id"]: each for each in allowed_prices(world, session)}
    item = subscription["items"]["data"][0]
    if price not in allowed:
        raise errors.Refusal("The portal's configuration does not offer this price.")
    update = world.objects[session["configuration"]]["features"]["subscription_update"]
    waits = {"type": "decreasing_item_amount"} in update["schedule_at_period_end"]["conditions"]
    if waits and allowed[price]["unit_amount"] < item["price"]["unit_amount"]:
        _schedule(world, subscription, item, price)
        return
    sent = {
        "items": [{"id": item["id"], "price": price}],
        "proration_behavior": update["proration_behavior"],
        "payment_behavior": "pending_if_incomplete",
    }
    subscriptions.update(world, SubscriptionUpdate.model_validate(sent), subscription["id"])


def _schedule(world: World, subscription: Object, item: Object, price: str) -> None:
    schedule = subscription["schedule"]
    if not schedule:
        schedule = schedules.create(world, ScheduleCreate(from_subscription=subscription["id"]))["id"]
    start, end = periods.of(subscription)
    now = {"items": [{"price": item["price"]["id"]}], "start_date": start, "end_date": end}
    then = {"items": [{"price": price}]}
    schedules.update(world, ScheduleUpdate.model_validate({"phases": [now, then]}), schedule)


def cancel(world: World, session: Object, subscription: Object) -> None:
    """At the period's end: on flexible billing the portal sets `cancel_at`. A plan that waits is forgotten."""
    feature = world.objects[session["configuration"]]["features"]["subscription_cancel"]
    if not feature["enabled"]:
        raise errors.Refusal("The portal's configuration does not let customers cancel.")
    if feature["mode"] == "immediately":
        subscriptions.end(world, subscription)
        return
    _without_schedule(world, subscription)
    with world.changing(subscription, subscriptions.UPDATED):
        subscriptions.set_cancel(world, subscription, periods.of(subscription)[1], at_period_end=False)


def resume(world: World, session: Object, subscription: Object) -> None:
    """The subscription goes on as it is: it no longer ends, and no other plan waits."""
    _without_schedule(world, subscription)
    with world.changing(subscription, subscriptions.UPDATED):
        subscriptions.set_cancel(world, subscription, None, at_period_end=False)


def _without_schedule(world: World, subscription: Object) -> None:
    if not subscription["schedule"]:
        return
    schedules.let_go(world, world.objects[subscription["schedule"]])
    with world.changing(subscription, subscriptions.UPDATED):
        subscription["schedule"] = None
