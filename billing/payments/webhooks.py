"""Stripe's events: verify the signature, skip repetitions, synchronise."""

# dj-stripe's own view is not used: with DEBUG on, that view lets a header replace the secret (BILLING.md).

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import orjson
import stripe
from django.conf import settings
from django.db import transaction

from billing.errors import BillingNotConfigured, WebhookRefused
from billing.models import WebhookEvent
from billing.payments import charges, customer_locks, sync
from lunaos.infra.observability import metrics

MAX_BODY_BYTES = 262_144  # Stripe's events have a few thousand bytes
TOLERANCE_S = 300
HANDLED_EVENT_TYPES = frozenset(
    {
        "checkout.session.completed",
        "customer.subscription.created",
        "customer.subscription.updated",
        "customer.subscription.deleted",
        "invoice.paid",
        "invoice.payment_failed",
        "charge.refunded",
        "refund.created",
        "refund.updated",
        "refund.failed",
        "charge.dispute.created",
        "charge.dispute.updated",
        "charge.dispute.closed",
    }
)


@dataclass(frozen=True, slots=True)
class StripeEvent:
    """The fields of an event that billing trusts: which customer may have changed."""

    # `customer_id` is empty for an object without a customer. `charge_id` is set for an event about a charge, a
    # refund or a dispute; Stripe is then asked for the customer.

    id: str
    kind: str
    made_at: datetime
    customer_id: str
    invoice_id: str | None
    charge_id: str | None = None


def parse(payload: bytes, signature: str) -> StripeEvent:
    """Parse an event that Stripe has signed within the last five minutes.

    Raises BillingNotConfigured without a secret, WebhookRefused for a bad signature, age, mode or body.
    """
    if not settings.STRIPE_WEBHOOK_SECRETS:
        raise BillingNotConfigured()
    _verify(payload, signature)
    try:
        event = orjson.loads(payload)
        if event["object"] != "event" or event["livemode"] is not settings.STRIPE_LIVE_MODE:
            raise WebhookRefused()
        return _build_event(event, event["data"]["object"])
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as e:
        raise WebhookRefused() from e


def handle(event: StripeEvent) -> None:
    """Synchronise an event's customer, once per event; may raise BillingUnavailable."""
    # Several events of one customer wait for one another.
    if event.kind not in HANDLED_EVENT_TYPES or WebhookEvent.objects.filter(pk=event.id).exists():
        return
    if event.charge_id is not None:
        event = replace(event, customer_id=charges.find_customer_id(event.charge_id) if event.charge_id else "")
    with transaction.atomic():
        if event.customer_id:
            customer_locks.lock_until_commit(event.customer_id)
        claimed = _claim(event)
        if claimed and event.customer_id:
            sync.sync_customer(event.customer_id, invoice_id=event.invoice_id, charge_id=event.charge_id)
        elif claimed and event.charge_id is not None:
            charges.alert_unknown(event.charge_id)
    if claimed:
        lag = datetime.now(UTC) - event.made_at
        metrics.WEBHOOK_LAG.labels(event.kind).observe(max(0.0, lag.total_seconds()))


def _verify(payload: bytes, signature: str) -> None:
    text = payload.decode(errors="replace")
    for secret in settings.STRIPE_WEBHOOK_SECRETS:
        try:
            stripe.WebhookSignature.verify_header(text, signature, secret, TOLERANCE_S)
            signed_at = _signed_at(signature)
        except (stripe.SignatureVerificationError, ValueError, TypeError):  # the SDK fails on characters beyond ASCII
            continue
        if signed_at > time.time() + TOLERANCE_S:  # the SDK accepts signatures from the future
            break
        return
    raise WebhookRefused()


def _signed_at(signature: str) -> int:
    return int(next(part[2:] for part in signature.split(",") if part.startswith("t=")))


def _build_event(event: Mapping[str, Any], about: Mapping[str, Any]) -> StripeEvent:
    return StripeEvent(
        id=str(event["id"]),
        kind=str(event["type"]),
        made_at=datetime.fromtimestamp(event["created"], UTC),
        customer_id=str(about.get("customer") or ""),
        invoice_id=str(about["id"]) if about["object"] == "invoice" else None,
        charge_id=_charge_id(about),
    )


def _charge_id(about: Mapping[str, Any]) -> str | None:
    # Empty for a refund without a charge.
    if about["object"] == "charge":
        return str(about["id"])
    return str(about.get("charge") or "") if about["object"] in ("refund", "dispute") else None


def _claim(event: StripeEvent) -> bool:
    # Return whether this transaction handles the event, after waiting for others.
    fields = {"kind": event.kind, "customer_id": event.customer_id, "made_at": event.made_at}
    return WebhookEvent.objects.get_or_create(id=event.id, defaults=fields)[1]
