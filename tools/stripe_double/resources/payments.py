"""Payments of invoices: payment intents, charges, and the payments between."""

from typing import Any

from tools.stripe_double.state import Object, ObjectStore, new_id

# Since the API version 2025-03-31 neither an invoice nor a charge names the other: the invoice payment does.
GOOD_CARD, DECLINED_CARD = "4242", "0341"  # the last four digits of two of Stripe's test cards
DECLINED = {"code": "card_declined", "message": "Your card was declined."}


def open_for(store: ObjectStore, invoice: Object) -> Object | None:
    """Create the payment of a finalized invoice; None if nothing is due."""
    if not invoice["amount_due"]:
        return None
    intent = store.add(_intent(store, invoice), "payment_intent.created")
    created = {
        "id": new_id("inpay"),
        "object": "invoice_payment",
        "amount_paid": None,
        "amount_requested": invoice["amount_due"],
        "created": invoice["created"],
        "currency": invoice["currency"],
        "invoice": invoice["id"],
        "is_default": True,
        "livemode": False,
        "payment": {"type": "payment_intent", "payment_intent": intent["id"]},
        "status": "open",
        "status_transitions": {"canceled_at": None, "paid_at": None},
    }
    return store.add(created)


def settle(store: ObjectStore, invoice: Object, *, at: int) -> None:
    """Charge the sum due with success, at a time in Unix seconds."""
    payment = _open_payment(store, invoice)
    if payment is None:
        return
    intent = store.objects[payment["payment"]["payment_intent"]]
    _succeed(store, intent, at)
    payment.update(status="paid", amount_paid=payment["amount_requested"])
    payment["status_transitions"]["paid_at"] = at
    store.emit("invoice_payment.paid", payment)


def decline(store: ObjectStore, invoice: Object) -> None:
    """Charge the sum due with a card that is declined."""
    payment = _open_payment(store, invoice)
    if payment is None:
        return
    intent = store.objects[payment["payment"]["payment_intent"]]
    charge = store.add(_charge(store, intent, store.now(), DECLINED_CARD))
    charge.update(failure_code=DECLINED["code"], failure_message=DECLINED["message"])
    charge["outcome"].update(
        type="issuer_declined", network_status="declined_by_network", reason="generic_decline", seller_message=None
    )
    store.emit("charge.failed", charge)
    intent.update(status="requires_payment_method", latest_charge=charge["id"])
    intent["last_payment_error"] = {"type": "card_error", "charge": charge["id"], **DECLINED}
    store.emit("payment_intent.payment_failed", intent)


def charge_without_invoice(store: ObjectStore, customer: str | None, amount: int) -> Object:
    """Charge a customer, or a stranger, as staff may do in Stripe's dashboard."""
    order: Object = {"amount_due": amount, "created": store.now(), "currency": "usd", "customer": customer}
    intent = store.add(_intent(store, order), "payment_intent.created")
    return _succeed(store, intent, order["created"])


def charges_of_invoice(store: ObjectStore, invoice_id: str) -> list[Object]:
    intents = [each["payment"]["payment_intent"] for each in store.all("invoice_payment", invoice=invoice_id)]
    return [each for each in store.all("charge") if each["payment_intent"] in intents]


def _succeed(store: ObjectStore, intent: Object, at: int) -> Object:
    charge = store.add(_charge(store, intent, at, GOOD_CARD))
    charge.update(paid=True, captured=True, amount_captured=charge["amount"], status="succeeded")
    store.emit("charge.succeeded", charge)
    intent.update(status="succeeded", amount_received=intent["amount"], latest_charge=charge["id"])
    intent["last_payment_error"] = None
    store.emit("payment_intent.succeeded", intent)
    return charge


def _open_payment(store: ObjectStore, invoice: Object) -> Object | None:
    waiting = store.all("invoice_payment", invoice=invoice["id"], status="open")
    # The state file of an older double has invoices without payments.
    return waiting[0] if waiting else open_for(store, invoice)


def _intent(store: ObjectStore, invoice: Object) -> Object:
    unused = (
        *("application", "application_fee_amount", "canceled_at", "cancellation_reason", "last_payment_error"),
        *("latest_charge", "next_action", "on_behalf_of", "payment_method", "processing", "review", "shipping"),
        *("statement_descriptor", "statement_descriptor_suffix", "transfer_data", "transfer_group"),
    )
    return {
        "id": new_id("pi"),
        "object": "payment_intent",
        **dict.fromkeys(unused),
        "amount": invoice["amount_due"],
        "amount_capturable": 0,
        "amount_received": 0,
        "capture_method": "automatic",
        "client_secret": None,
        "confirmation_method": "automatic",
        "created": invoice["created"],
        "currency": invoice["currency"],
        "customer": invoice["customer"],
        "description": "Subscription update",
        "livemode": False,
        "metadata": {},
        "payment_method_types": ["card"],
        "receipt_email": None,
        "setup_future_usage": "off_session",
        "status": "requires_payment_method",
    }


UNUSED_CHARGE_FIELDS: dict[str, Any] = dict.fromkeys(
    (
        *("application", "application_fee", "application_fee_amount", "balance_transaction", "failure_code"),
        *("failure_balance_transaction", "failure_message", "on_behalf_of", "receipt_email", "receipt_number"),
        *("receipt_url", "review", "shipping", "source", "source_transfer", "statement_descriptor"),
        *("statement_descriptor_suffix", "transfer_data", "transfer_group"),
    )
)


def _charge(store: ObjectStore, intent: Object, at: int, last4: str) -> Object:
    customer = store.objects.get(intent["customer"] or "", {})
    return {
        "id": new_id("ch"),
        "object": "charge",
        **UNUSED_CHARGE_FIELDS,
        "amount": intent["amount"],
        "amount_captured": 0,
        "amount_refunded": 0,
        "billing_details": {
            **dict.fromkeys(("address", "phone", "tax_id")),
            "email": customer.get("email"),
            "name": customer.get("name"),
        },
        "calculated_statement_descriptor": "LUNAOS",
        "captured": False,
        "created": at,
        "currency": intent["currency"],
        "customer": intent["customer"],
        "description": intent["description"],
        "disputed": False,
        "fraud_details": {},
        "livemode": False,
        "metadata": {},
        "outcome": _outcome(),
        "paid": False,
        "payment_intent": intent["id"],
        "payment_method": new_id("pm"),
        "payment_method_details": {"card": _card(last4), "type": "card"},
        "refunded": False,
        "status": "failed",
    }


def _outcome() -> Object:
    return {
        "network_status": "approved_by_network",
        "reason": None,
        "risk_level": "normal",
        "seller_message": "Payment complete.",
        "type": "authorized",
    }


def _card(last4: str) -> Object:
    return {
        "brand": "visa",
        "checks": {"address_line1_check": None, "address_postal_code_check": None, "cvc_check": "pass"},
        "country": "US",
        "exp_month": 12,
        "exp_year": 2034,
        "fingerprint": "LunaOSDouble0000",
        "funding": "credit",
        "last4": last4,
        "network": "visa",
        "three_d_secure": None,
        "wallet": None,
    }
