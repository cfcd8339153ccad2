from tools.stripe_double import errors
from tools.stripe_double.object_fields import merge_metadata
from tools.stripe_double.params_payments import RefundCreate
from tools.stripe_double.resources import disputes
from tools.stripe_double.state import Object, ObjectStore, new_id

FAILURES = {"failed", "canceled"}  # the money stays with the charge


def create(store: ObjectStore, sent: RefundCreate) -> Object:
    charge = _charge_of(store, sent)
    left = charge["amount_captured"] - charge["amount_refunded"]
    amount = sent.amount or left
    _refuse(store, charge, amount, left)
    created = {
        "id": new_id("re"),
        "object": "refund",
        "amount": amount,
        "balance_transaction": None,
        "charge": charge["id"],
        "created": store.now(),
        "currency": charge["currency"],
        "destination_details": {"card": {"reference_status": "pending", "type": "refund"}, "type": "card"},
        "metadata": merge_metadata({}, sent.metadata),
        "payment_intent": charge["payment_intent"],
        "reason": sent.reason,
        "receipt_number": None,
        "source_transfer_reversal": None,
        "status": "succeeded",
        "transfer_reversal": None,
    }
    store.add(created, "refund.created")
    _count(store, charge, "charge.refunded")
    return created


def fail(store: ObjectStore, refund: Object, reason: str = "expired_or_canceled_card") -> Object:
    """Let a refund fail, as the customer's bank may days later."""
    if refund["status"] in FAILURES:
        raise errors.StripeError(f"The refund is {refund['status']} already.")
    with store.changing(refund, "refund.updated"):
        refund.update(status="failed", failure_reason=reason)
    # The charge is not refunded then.
    _count(store, store.objects[refund["charge"]], "charge.updated")
    store.emit("refund.failed", refund)
    return refund


def _charge_of(store: ObjectStore, sent: RefundCreate) -> Object:
    if sent.charge:
        return store.get("charge", sent.charge, param="charge")
    intent = store.get("payment_intent", sent.payment_intent or "", param="payment_intent")
    if not intent["latest_charge"]:
        raise errors.StripeError(f"This PaymentIntent ({intent['id']}) does not have a successful charge to refund.")
    return store.objects[intent["latest_charge"]]


def _refuse(store: ObjectStore, charge: Object, amount: int, left: int) -> None:
    identifier = charge["id"]
    if not charge["paid"]:
        raise errors.StripeError(f"Charge {identifier} has not succeeded and cannot be refunded.")
    if not left:
        raise errors.StripeError(f"Charge {identifier} has already been refunded.", code="charge_already_refunded")
    if any(not dispute["is_charge_refundable"] for dispute in disputes.list_open(store, identifier)):
        raise errors.StripeError(
            f"Charge {identifier} has been charged back; cannot issue a refund.", code="charge_disputed"
        )
    if amount > left:
        raise errors.StripeError(
            f"Refund amount (${amount / 100:.2f}) is greater than unrefunded amount on charge (${left / 100:.2f})",
            param="amount",
        )


def _count(store: ObjectStore, charge: Object, event: str) -> None:
    refunds = store.all("refund", charge=charge["id"])
    with store.changing(charge, event):
        charge["amount_refunded"] = sum(each["amount"] for each in refunds if each["status"] not in FAILURES)
        charge["refunded"] = charge["amount_refunded"] == charge["amount_captured"]
