from tools.stripe_double import errors
from tools.stripe_double.object_fields import to_object_fields
from tools.stripe_double.params import CustomerCreate, CustomerUpdate, Params
from tools.stripe_double.resources import subscriptions
from tools.stripe_double.state import Object, ObjectStore, new_id


def create(store: ObjectStore, sent: CustomerCreate) -> Object:
    created: Object = {
        "id": new_id("cus"),
        "object": "customer",
        "address": None,
        "balance": 0,
        "created": store.now(),
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
    return store.add({**created, **to_object_fields(sent, {})}, "customer.created")


def update(store: ObjectStore, sent: CustomerUpdate, identifier: str) -> Object:
    customer = get_existing(store, identifier, param="id")
    with store.changing(customer, "customer.updated"):
        customer.update(to_object_fields(sent, customer))
    return customer


def get_existing(store: ObjectStore, identifier: str, *, param: str = "customer") -> Object:
    """Return a customer that is not deleted, or raise StripeError."""
    found = store.get("customer", identifier, param=param)
    if found.get("deleted"):
        raise errors.resource_missing("customer", identifier, param=param)
    return found


def delete(store: ObjectStore, sent: Params, identifier: str) -> Object:
    """Delete a customer and end its subscriptions; a stub remains."""
    customer = get_existing(store, identifier, param="id")
    for subscription in store.all("subscription", customer=identifier):
        if subscription["status"] not in subscriptions.ENDED_STATUSES:
            subscriptions.end(store, subscription)
    store.emit("customer.deleted", customer)
    stub = {"id": identifier, "object": "customer", "deleted": True}
    store.objects[identifier] = stub
    return stub
