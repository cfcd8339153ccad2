from tools.stripe_double import errors
from tools.stripe_double.object_fields import merge_metadata, to_object_fields
from tools.stripe_double.params import Params, PriceCreate, PriceUpdate, ProductCreate, ProductUpdate
from tools.stripe_double.state import Object, ObjectStore, new_id


def create_product(store: ObjectStore, sent: ProductCreate) -> Object:
    identifier = sent.id or new_id("prod")
    if identifier in store.objects:
        raise errors.StripeError(f"Product already exists: {identifier}", code="resource_already_exists", param="id")
    created = {
        "id": identifier,
        "object": "product",
        "active": True,
        "created": store.now(),
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
        "updated": store.now(),
        "url": None,
    }
    return store.add({**created, **to_object_fields(sent, {}), "id": identifier}, "product.created")


def update_product(store: ObjectStore, sent: ProductUpdate, identifier: str) -> Object:
    product = store.get("product", identifier)
    if sent.default_price:
        store.get("price", sent.default_price, param="default_price")
    with store.changing(product, "product.updated"):
        product.update(to_object_fields(sent, product), updated=store.now())
    return product


def create_price(store: ObjectStore, sent: PriceCreate) -> Object:
    store.get("product", sent.product, param="product")
    _claim_lookup_key(store, sent.lookup_key, sent.transfer_lookup_key)
    created = {
        "id": new_id("price"),
        "object": "price",
        "active": sent.active,
        "billing_scheme": "per_unit",
        "created": store.now(),
        "currency": sent.currency.lower(),
        "custom_unit_amount": None,
        "livemode": False,
        "lookup_key": sent.lookup_key,
        "metadata": merge_metadata({}, sent.metadata),
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
    return store.add(created, "price.created")


def _recurring(sent: PriceCreate) -> Object | None:
    if not sent.recurring:
        return None
    return {"meter": None, "trial_period_days": None, "usage_type": "licensed", **sent.recurring.model_dump()}


def _claim_lookup_key(store: ObjectStore, lookup_key: str | None, transfer: bool) -> None:
    holders = store.all("price", lookup_key=lookup_key) if lookup_key else []
    if holders and not transfer:
        raise errors.StripeError(
            f"A price (`{holders[0]['id']}`) already uses that lookup key.",
            code="resource_already_exists",
            param="lookup_key",
        )
    for holder in holders:
        with store.changing(holder, "price.updated"):
            holder["lookup_key"] = None
        _refresh_items(store, holder)


def update_price(store: ObjectStore, sent: PriceUpdate, identifier: str) -> Object:
    price = store.get("price", identifier)
    if sent.lookup_key != price["lookup_key"]:
        _claim_lookup_key(store, sent.lookup_key, sent.transfer_lookup_key)
    values = to_object_fields(sent, price)
    values.pop("transfer_lookup_key", None)
    with store.changing(price, "price.updated"):
        price.update(values)
    _refresh_items(store, price)
    return price


def _refresh_items(store: ObjectStore, price: Object) -> None:
    # Stripe sends no event for this.
    for subscription in store.all("subscription"):
        for item in subscription["items"]["data"]:
            if item["price"]["id"] == price["id"]:
                item.update(price=dict(price), plan=plan(price))


def plan(price: Object) -> Object:
    """Return a recurring price as a plan, which subscription items still contain."""
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


def retrieve_plan(store: ObjectStore, sent: Params, identifier: str) -> Object:
    return plan(recurring_price(store, identifier, param="id"))


def recurring_price(store: ObjectStore, identifier: str, *, param: str) -> Object:
    """Return a recurring price, or raise StripeError."""
    price = store.get("price", identifier, param=param)
    if not price["recurring"]:
        raise errors.StripeError("The price specified is set to `type=one_time`.", param=param)
    return price
