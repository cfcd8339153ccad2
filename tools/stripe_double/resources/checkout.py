"""Checkout sessions: created by the product, paid on the double's page."""

from typing import Any

from tools.stripe_double import errors
from tools.stripe_double.params import CustomerCreate, Params
from tools.stripe_double.params_subscriptions import CheckoutCreate
from tools.stripe_double.resources import catalogue, customers, subscriptions
from tools.stripe_double.state import Object, ObjectStore, new_id

DAY_S = 24 * 3600
UNUSED_FIELDS: dict[str, Any] = dict.fromkeys(
    (
        "after_expiration",
        "allow_promotion_codes",
        "billing_address_collection",
        "cancel_url",
        "client_reference_id",
        "client_secret",
        "collected_information",
        "consent",
        "consent_collection",
        "currency_conversion",
        "customer",
        "customer_account",
        "customer_creation",
        "customer_email",
        "invoice",
        "invoice_creation",
        "locale",
        "origin_context",
        "payment_intent",
        "payment_link",
        "payment_method_configuration_details",
        "permissions",
        "recovered_from",
        "saved_payment_method_options",
        "setup_intent",
        "shipping_address_collection",
        "shipping_cost",
        "submit_type",
        "subscription",
        "wallet_options",
    )
)
COPIED_PARAMETERS = (
    "allow_promotion_codes",
    "billing_address_collection",
    "cancel_url",
    "client_reference_id",
    "customer",
    "customer_email",
    "locale",
    "metadata",
    "success_url",
)


def create(store: ObjectStore, sent: CheckoutCreate) -> Object:
    prices = [
        catalogue.recurring_price(store, line.price, param=f"line_items[{position}][price]")
        for position, line in enumerate(sent.line_items)
    ]
    customer = customers.get_existing(store, sent.customer) if sent.customer else {}
    if sent.customer and sent.customer_email:
        raise errors.StripeError("You may only specify one of these parameters: customer, customer_email.")
    for price in prices:
        if not price["active"]:
            raise errors.StripeError(f"The price `{price['id']}` is inactive.", param="line_items[0][price]")
    lines = [_line(price, line.quantity) for price, line in zip(prices, sent.line_items, strict=True)]
    created = _blank(store, sent, sum(line["amount_total"] for line in lines), prices[0]["currency"])
    created["customer_details"] = _details(customer.get("email") or sent.customer_email, customer.get("name"))
    store.line_items[created["id"]] = lines
    store.promised[created["id"]] = sent.subscription_data.model_dump()
    return store.add(created)


def _line(price: Object, quantity: int) -> Object:
    amount = price["unit_amount"] * quantity
    return {
        "id": new_id("li"),
        "object": "item",
        "amount_discount": 0,
        "amount_subtotal": amount,
        "amount_tax": 0,
        "amount_total": amount,
        "currency": price["currency"],
        "description": price["nickname"],
        "metadata": {},
        "price": dict(price),
        "quantity": quantity,
    }


def _details(email: str | None, name: str | None) -> Object | None:
    if not email:
        return None
    unknown = dict.fromkeys(("address", "business_name", "individual_name", "phone"))
    return {**unknown, "email": email, "name": name, "tax_exempt": "none", "tax_ids": []}


def _blank(store: ObjectStore, sent: CheckoutCreate, total: int, currency: str) -> Object:
    identifier = new_id("cs_test")
    return {
        "id": identifier,
        "object": "checkout.session",
        **UNUSED_FIELDS,
        **{name: getattr(sent, name) for name in COPIED_PARAMETERS},
        "adaptive_pricing": {"enabled": False},
        "amount_subtotal": total,
        "amount_total": total,
        "automatic_tax": {"enabled": False, "liability": None, "provider": None, "status": None},
        "created": store.now(),
        "currency": currency,
        "custom_fields": [],
        "custom_text": dict.fromkeys(("after_submit", "shipping_address", "submit", "terms_of_service_acceptance")),
        "discounts": [],
        "expires_at": sent.expires_at or store.now() + DAY_S,
        "livemode": False,
        "mode": "subscription",
        "payment_method_collection": sent.payment_method_collection or "always",
        "payment_method_options": {},
        "payment_method_types": ["card"],
        "payment_status": "unpaid",
        "phone_number_collection": {"enabled": False},
        "shipping_options": [],
        "status": "open",
        "total_details": {"amount_discount": 0, "amount_shipping": 0, "amount_tax": 0},
        "ui_mode": "hosted_page",
        "url": f"{store.url}/pay/{identifier}",
    }


def expire(store: ObjectStore, sent: Params, identifier: str) -> Object:
    session = store.get("checkout.session", identifier)
    if session["status"] != "open":
        raise errors.StripeError(
            f'Only Checkout Sessions with a status in ["open"] can be expired. This Checkout Session has a status of '
            f"`{session['status']}`."
        )
    session.update(status="expired", url=None)
    store.emit("checkout.session.expired", session)
    return session


def pay(store: ObjectStore, identifier: str) -> Object:
    """Pay an open session: create its paid subscription and complete the session."""
    session = store.get("checkout.session", identifier)
    if session["status"] != "open":
        raise errors.StripeError(f"This Checkout Session is {session['status']}.")
    customer = customers.get_existing(store, session["customer"] or _new_customer(store, session))
    lines = [{"price": line["price"]["id"], "quantity": line["quantity"]} for line in store.line_items[identifier]]
    subscription = subscriptions.create(store, customer=customer["id"], lines=lines, **store.promised.pop(identifier))
    session.update(customer=customer["id"], subscription=subscription["id"], invoice=subscription["latest_invoice"])
    session.update(status="complete", payment_status="paid", url=None)
    session["customer_details"] = _details(customer["email"] or "payer@example.com", customer["name"])
    store.emit("checkout.session.completed", session)
    return session


def _new_customer(store: ObjectStore, session: Object) -> str:
    created = customers.create(store, CustomerCreate(email=session["customer_email"]))
    return str(created["id"])


def return_url(session: Object) -> str:
    return str(session["success_url"]).replace("{CHECKOUT_SESSION_ID}", session["id"])
