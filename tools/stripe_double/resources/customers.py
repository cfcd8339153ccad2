"""Customers."""

from tools.stripe_double import errors
from tools.stripe_double.merging import fields
from tools.stripe_double.params import CustomerCreate, CustomerUpdate, Params
from tools.stripe_double.resources import subscriptions
from tools.stripe_double.state import Object, World, new_id


def create(world: World, sent: CustomerCreate) -> Object:
    made: Object = {
        "id": new_id("cus"),
        "object": "customer",
        "address": None,
        "balance": 0,
        "created": world.now(),
        "currency": None,
        "default_source": None,
        "delinquent": False,
        "description": None,
        "discount": None,
        "email": None,
        "invoice_prefix": new_id("x")[2:10].upper(),
        "invoice_settings": {
            "custom_fields": None,
            "default_payment_method": None,
            "footer": None,
            "rendering_options": None,
        },
        "livemode": False,
        "metadata": {},
        "name": None,
        "next_invoice_sequence": 1,
        "phone": None,
        "preferred_locales": [],
        "shipping": None,
        "tax_exempt": "none",
        "test_clock": None,
    }
    return world.add({**made, **fields(sent, {})}, "customer.created")


def update(world: World, sent: CustomerUpdate, identifier: str) -> Object:
    customer = living(world, identifier, param="id")
    with world.changing(customer, "customer.updated"):
        customer.update(fields(sent, customer))
    return customer


def living(world: World, identifier: str, *, param: str = "customer") -> Object:
    """The customer, unless it was deleted: then it is as if it had never been.

    Raises:
        Refusal: `resource_missing`.
    """
    found = world.get("customer", identifier, param=param)
    if found.get("deleted"):
        raise errors.missing("customer", identifier, param=param)
    return found


def delete(world: World, sent: Params, identifier: str) -> Object:
    """Delete a customer: its subscriptions end at once, and a stub is left that can be retrieved."""
    customer = living(world, identifier, param="id")
    for subscription in world.all("subscription", customer=identifier):
        if subscription["status"] not in subscriptions.ENDED:
            subscriptions.end(world, subscription)
    world.emit("customer.deleted", customer)
    stub = {"id": identifier, "object": "customer", "deleted": True}
    world.objects[identifier] = stub
    return stub
