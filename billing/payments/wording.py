"""Subscriptions, invoices, cards and disputes in people's words, for staff."""

# Stripe's own words ("past_due", "uncollectible", "warning_needs_response") are for programs.

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from django.conf import settings

from billing.money import format_amount
from billing.payments import disputes
from billing.payments.disputes import Phase
from billing.payments.subscription_state import Subscription

Data = dict[str, Any]  # the stored fields of an object of Stripe
NO_CARD = "not known"
REASONS = {  # Stripe's reasons of a dispute
    "fraudulent": "the cardholder says that another person paid",
    "unrecognized": "the cardholder does not recognise the payment",
    "subscription_canceled": "the cardholder says that the subscription was canceled",
    "duplicate": "the cardholder says that this was charged twice",
    "product_not_received": "the cardholder says that nothing was received",
    "product_unacceptable": "the cardholder says that the product is not as described",
    "credit_not_processed": "the cardholder waits for a refund",
}
DISPUTE_STATUSES = {
    "warning_needs_response": "the bank inquires, and waits for an answer",
    "warning_under_review": "the bank inquires, and looks at the answer",
    "warning_closed": "the inquiry is closed",
    "needs_response": "open, and waits for evidence",
    "under_review": "open, the bank looks at the evidence",
    "won": "won",
    "lost": "lost",
    "prevented": "settled by a refund",
}
EVENTS = {
    "checkout.session.completed": "A checkout was completed",
    "customer.subscription.created": "A subscription began",
    "customer.subscription.updated": "A subscription changed",
    "customer.subscription.deleted": "A subscription ended",
    "invoice.paid": "An invoice was paid",
    "invoice.payment_failed": "A payment failed",
    "charge.refunded": "A payment was refunded",
    "refund.created": "A refund was made",
    "refund.updated": "A refund changed",
    "refund.failed": "A refund failed",
    "charge.dispute.created": "A payment was disputed",
    "charge.dispute.updated": "A dispute changed",
    "charge.dispute.closed": "A dispute was closed",
}


def format_day(moment: "datetime | int | None") -> str:
    """Format a day in UTC; a moment may be Stripe's Unix seconds."""
    if moment is None:
        return ""
    return f"{datetime.fromtimestamp(moment, UTC) if isinstance(moment, int) else moment:%Y-%m-%d}"


def describe_card(card: Data | None) -> str:
    """Return a card as its owner knows it, such as Visa •••• 4242."""
    if not card:
        return NO_CARD
    brand = str(card["brand"] or "card").replace("_", " ").title()
    return f"{brand} •••• {card['last4']}" if card["last4"] else brand


def describe_reason(dispute: Data) -> str:
    return REASONS.get(dispute["reason"], str(dispute["reason"]).replace("_", " "))


def describe_dispute(dispute: Data) -> str:
    return DISPUTE_STATUSES.get(dispute["status"], str(dispute["status"]).replace("_", " "))


def describe_subscription(subscription: Subscription, now: datetime) -> str:
    """Say what a subscription gives, and until when."""
    # One that is not paid does not claim to be.
    end = format_day(subscription.period_end)
    ends = f", ends on {end}" if subscription.cancels else ""
    match subscription.status:
        case "active":
            return f"paid until {end}, {'then ends' if subscription.cancels else 'then renews'}"
        case "trialing":
            return f"on trial until {end}{', then ends' if subscription.cancels else ''}"
        case "past_due":
            since = subscription.unpaid_since or subscription.period_start
            if subscription.gives_tier(now):
                return (
                    f"payment due since {format_day(since)}; the tier stays until "
                    f"{format_day(since + settings.PAYMENT_GRACE)}{ends}"
                )
            return f"payment due since {format_day(since)}; gives no tier any more{ends}"
        case "canceled":
            return f"ended on {format_day(subscription.ended_at)}" if subscription.ended_at else "ended"
        case "incomplete_expired":
            return "never paid, ended"
        case "incomplete":
            return f"not paid yet, gives no tier{ends}"
        case "unpaid":
            return f"not paid, gives no tier{ends}"
        case _:
            return f"{subscription.status.replace('_', ' ')}, gives no tier{ends}"


def invoice_state(data: Data, disputed: Iterable[Data] = ()) -> str:
    """Return the state of an invoice in a word or two, the last event first: disputed, refunded, paid, failed."""
    phases = {disputes.phase_of(dispute["status"]) for dispute in disputed}
    if Phase.OPEN in phases:
        return "disputed"
    if Phase.LOST in phases:
        return "lost in a dispute"
    if refunded := data.get("amount_refunded", 0):
        return "refunded" if refunded >= data["amount_paid"] else "refunded in part"
    if data["status"] == "open":
        return "payment failed" if data["attempt_count"] else "open"
    return {"paid": "paid", "draft": "draft", "void": "void", "uncollectible": "given up"}.get(
        data["status"], str(data["status"])
    )


def describe_period(data: Data) -> str:
    """Return the period that an invoice's lines are for."""
    # Of an earlier release's row its own dates.
    periods = [line["period"] for line in data.get("lines", ())]
    start = min((period["start"] for period in periods), default=data.get("period_start"))
    end = max((period["end"] for period in periods), default=data.get("period_end"))
    return f"{format_day(start)} to {format_day(end)}" if start and end else ""


def explain_invoice(data: Data, charges: Sequence[Data], disputed: Sequence[Data]) -> list[str]:
    """Answer "why was I charged?" in sentences, what was charged first."""
    sentences = [_explain_payment(data, charges)]
    if refunded := data.get("amount_refunded", 0):
        whole = refunded >= data["amount_paid"]
        part = "All of it was" if whole else f"{format_amount(refunded, data.get('currency', 'usd'))} of it were"
        sentences.append(f"{part} refunded.")
    for dispute in disputed:
        amount = format_amount(dispute["amount"], dispute["currency"])
        sentences.append(f"{_explain_dispute(dispute, amount)} Reason: {describe_reason(dispute)}.")
    return sentences


def _explain_payment(data: Data, charges: Sequence[Data]) -> str:
    currency = data.get("currency", "usd")
    what = f"for {data['tier']}" if data.get("tier") else "for a price of no tier"
    period = f", {found}" if (found := describe_period(data)) else ""
    if data["status"] == "paid":
        paid = next((charge for charge in charges if charge["status"] == "succeeded"), None)
        if not data["amount_paid"]:
            return f"Nothing was charged {what}{period}: there was nothing to pay."
        amount = format_amount(data["amount_paid"], currency)
        by = f" on {format_day(paid['created'])} by {describe_card(paid['card'])}" if paid else ""
        return f"{amount} were charged{by} {what}{period}."
    amount = format_amount(data["amount_due"], currency)
    if data["status"] != "open":
        state = {"void": "was withdrawn", "uncollectible": "was given up"}.get(data["status"], "is a draft")
        return f"Nothing was charged: the invoice over {amount} {what}{period} {state}."
    if not data["attempt_count"]:
        return f"Nothing was charged yet: {amount} are due {what}{period}."
    failed = next((charge for charge in charges if charge["status"] == "failed"), None)
    why = f" on {format_day(failed['created'])} by {describe_card(failed['card'])}" if failed else ""
    reason = f" {failed['failure_message']}" if failed and failed.get("failure_message") else ""
    times = f"{data['attempt_count']} attempts" if data["attempt_count"] > 1 else "1 attempt"
    return f"Nothing was charged: {times} to charge {amount} {what}{period} failed, the last{why}.{reason}"


def _explain_dispute(dispute: Data, amount: str) -> str:
    match disputes.phase_of(dispute["status"]):
        case Phase.OPEN:
            return f"{amount} are disputed ({describe_dispute(dispute)}); checkouts are blocked."
        case Phase.LOST:
            return f"{amount} went back in a dispute that was lost; the paid tier has ended."
        case _:
            return f"A dispute about {amount} has ended: {describe_dispute(dispute)}."
