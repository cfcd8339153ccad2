"""Products and prices."""

from tools.stripe_double import errors
from tools.stripe_double.merging import fields, merged
from tools.stripe_double.params import Params, PriceCreate, PriceUpdate, ProductCreate, ProductUpdate
from tools.stripe_double.state import Object, World, new_id


def create_product(world: World, sent: ProductCreate) -> Object:
    identifier = sent.id or new_id("prod")
    if identifier in world.objects:
        raise errors.Refusal(f"Product already exists: {identifier}", code="resource_already_exists", param="id")
    made = {
        "id": identifier,
        "object": "product",
        "active": True,
        "created": world.now(),
        "default_price": None,
        "description": None,
        "images": [],
        "livemode": False,
        "marketing_features": [],
        "metadata": {},
        "name": sent.name,
        "package_dimensions": None,
        "shippable": None,
        "statement_descriptor": None,
        "tax_code": None,
        "type": "service",
        "unit_label": None,
        "updated": world.now(),
        "url": None,
    }
    return world.add({**made, **fields(sent, {}), "id": identifier}, "product.created")


def update_product(world: World, sent: ProductUpdate, identifier: str) -> Object:
    product = world.get("product", identifier)
    if sent.default_price:
        world.get("price", sent.default_price, param="default_price")
    with world.changing(product, "product.updated"):
        product.update(fields(sent, product), updated=world.now())
    return product


def create_price(world: World, sent: PriceCreate) -> Object:
    world.get("product", sent.product, param="product")
    _take_lookup_key(world, sent.lookup_key, sent.transfer_lookup_key)
    made = {
        "id": new_id("price"),
        "object": "price",
        "active": sent.active,
        "billing_scheme": "per_unit",
        "created": world.now(),
        "currency": sent.currency.lower(),
        "custom_unit_amount": None,
        "livemode": False,
        "lookup_key": sent.lookup_key,
        "metadata": merged({}, sent.metadata),
        "nickname": sent.nickname,
        "product": sent.product,
        "recurring": _recurring(sent),
        "tax_behavior": sent.tax_behavior,
        "tiers_mode": None,
        "transform_quantity": None,
        "type": "recurring" if sent.recurring else "one_time",
        "unit_amount": sent.unit_amount,
        "unit_amount_decimal": str(sent.unit_amount),
    }
    return world.add(made, "price.created")


def _recurring(sent: PriceCreate) -> Object | None:
    if not sent.recurring:
        return None
    return {"meter": None, "trial_period_days": None, "usage_type": "licensed", **sent.recurring.model_dump()}


def _take_lookup_key(world: World, lookup_key: str | None, transfer: bool) -> None:
    holders = world.all("price", lookup_key=lookup_key) if lookup_key else []
    if holders and not transfer:
        raise errors.Refusal(
            f"A price (`{holders[0]['id']}`) already uses that lookup key.",
            code="resource_already_exists",
            param="lookup_key",
        )
    for holder in holders:
        with world.changing(holder, "price.updated"):
            holder["lookup_key"] = None
        _refresh_items(world, holder)


def update_price(world: World, sent: PriceUpdate, identifier: str) -> Object:
    price = world.get("price", identifier)
    if sent.lookup_key != price["lookup_key"]:
        _take_lookup_key(world, sent.lookup_key, sent.transfer_lookup_key)
    values = fields(sent, price)
    values.pop("transfer_lookup_key", None)
    with world.changing(price, "price.updated"):
        price.update(values)
    _refresh_items(world, price)
    return price


def _refresh_items(world: World, price: Object) -> None:
    """Subscriptions show a price as it is now, and no event tells of that."""
    for subscription in world.all("subscription"):
        for item in subscription["items"]["data"]:
            if item["price"]["id"] == price["id"]:
                item.update(price=dict(price), plan=plan(price))


def plan(price: Object) -> Object:
    """A recurring price in the shape that plans had, which subscription items still carry."""
    return {
        "id": price["id"],
        "object": "plan",
        "active": price["active"],
        "amount": price["unit_amount"],
        "amount_decimal": price["unit_amount_decimal"],
        "billing_scheme": price["billing_scheme"],
        "created": price["created"],
        "currency": price["currency"],
        "interval": price["recurring"]["interval"],
        "interval_count": price["recurring"]["interval_count"],
        "livemode": False,
        "metadata": price["metadata"],
        "meter": None,
        "nickname": price["nickname"],
        "product": price["product"],
        "tiers_mode": None,
        "transform_usage": None,
        "trial_period_days": None,
        "usage_type": "licensed",
    }


def retrieve_plan(world: World, sent: Params, identifier: str) -> Object:
    return plan(recurring_price(world, identifier, param="id"))


def recurring_price(world: World, identifier: str, *, param: str) -> Object:
    """A price that a subscription may have.

    Raises:
        Refusal: there is none, or it is not recurring.
    """
    price = world.get("price", identifier, param=param)
    if not price["recurring"]:
        raise errors.Refusal("The price specified is set to `type=one_time`.", param=param)
    return price
