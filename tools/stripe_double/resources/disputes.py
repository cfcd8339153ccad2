"""Disputes of charges: opened by a customer's bank, closed as won or lost."""

from typing import Any

from tools.stripe_double import errors
from tools.stripe_double.params import Params
from tools.stripe_double.state import Object, ObjectStore, new_id

EVIDENCE_DUE_S = 7 * 24 * 3600
CLOSED_STATUSES = ("won", "lost", "warning_closed", "prevented")
EVIDENCE = (
    *("access_activity_log", "billing_address", "cancellation_policy", "cancellation_policy_disclosure"),
    *("cancellation_rebuttal", "customer_communication", "customer_email_address", "customer_name"),
    *("customer_purchase_ip", "customer_signature", "duplicate_charge_documentation", "duplicate_charge_explanation"),
    *("duplicate_charge_id", "product_description", "receipt", "refund_policy", "refund_policy_disclosure"),
    *("refund_refusal_explanation", "service_date", "service_documentation", "shipping_address", "shipping_carrier"),
    *("shipping_date", "shipping_documentation", "shipping_tracking_number", "uncategorized_file"),
    "uncategorized_text",
)


def open_for(
    store: ObjectStore, charge: Object, *, amount: int | None = None, reason: str = "fraudulent", inquiry: bool = False
) -> Object:
    """Open a dispute of a paid charge, or an inquiry, which withdraws no money."""
    if not charge["paid"]:
        raise errors.StripeError(f"Charge {charge['id']} has not succeeded and cannot be disputed.")
    created = _blank(store, charge, amount or charge["amount"], reason, inquiry)
    store.add(created)
    with store.changing(charge, "charge.updated"):
        charge["disputed"] = True
    store.emit("charge.dispute.created", created)
    if not inquiry:
        _withdraw(store, created)
    return created


def set_status(store: ObjectStore, dispute: Object, status: str) -> Object:
    """Move a dispute to a status, with the events of that status."""
    # Also from a closed one: a bank may decide again.
    was = dispute["status"]
    with store.changing(dispute, "charge.dispute.updated"):
        dispute["status"] = status
        dispute["is_charge_refundable"] = status.startswith("warning_")
    if was.startswith("warning_") and status in ("needs_response", "lost"):
        _withdraw(store, dispute)  # the inquiry has become a dispute
    if status == "won":
        dispute["balance_transactions"].append(_transaction(store, dispute, dispute["amount"]))
        store.emit("charge.dispute.funds_reinstated", dispute)
    if status in CLOSED_STATUSES:
        store.emit("charge.dispute.closed", dispute)
    return dispute


def close(store: ObjectStore, sent: Params, identifier: str) -> Object:
    dispute = store.get("dispute", identifier)
    if dispute["status"] in CLOSED_STATUSES:
        raise errors.StripeError("This dispute is already closed")
    return set_status(store, dispute, "lost")


def list_open(store: ObjectStore, charge_id: str) -> list[Object]:
    """List the disputes of a charge that are not closed in the merchant's favour."""
    return [each for each in store.all("dispute", charge=charge_id) if each["status"] not in ("won", "warning_closed")]


def _blank(store: ObjectStore, charge: Object, amount: int, reason: str, inquiry: bool) -> Object:
    now = store.now()
    details: dict[str, Any] = {"brand": "visa", "case_type": "inquiry" if inquiry else "chargeback", "network": "visa"}
    return {
        "id": new_id("du"),
        "object": "dispute",
        "amount": amount,
        "balance_transactions": [],
        "charge": charge["id"],
        "created": now,
        "currency": charge["currency"],
        "enhanced_eligibility_types": [],
        "evidence": {**dict.fromkeys(EVIDENCE), "enhanced_evidence": {}},
        "evidence_details": {
            "due_by": now + EVIDENCE_DUE_S,
            "enhanced_eligibility": {},
            "has_evidence": False,
            "past_due": False,
            "submission_count": 0,
        },
        "is_charge_refundable": inquiry,
        "livemode": False,
        "metadata": {},
        "payment_intent": charge["payment_intent"],
        "payment_method_details": {"card": {**details, "network_reason_code": "10.4"}, "type": "card"},
        "reason": reason,
        "status": "warning_needs_response" if inquiry else "needs_response",
    }


def _withdraw(store: ObjectStore, dispute: Object) -> None:
    dispute["balance_transactions"].append(_transaction(store, dispute, -dispute["amount"]))
    store.emit("charge.dispute.funds_withdrawn", dispute)


def _transaction(store: ObjectStore, dispute: Object, amount: int) -> Object:
    fee = 1500 if amount < 0 else 0
    now = store.now()
    fees = {"amount": fee, "application": None, "currency": "usd", "description": "Dispute fee", "type": "stripe_fee"}
    return {
        "id": new_id("txn"),
        "object": "balance_transaction",
        "amount": amount,
        "available_on": now,
        "balance_type": "payments",
        "created": now,
        "currency": dispute["currency"],
        "description": f"Chargeback {'withdrawal' if amount < 0 else 'reversal'} for {dispute['charge']}",
        "exchange_rate": None,
        "fee": fee,
        "fee_details": [fees] if fee else [],
        "net": amount - fee,
        "reporting_category": "dispute" if amount < 0 else "dispute_reversal",
        "source": dispute["id"],
        "status": "available",
        "type": "adjustment",
    }
