"""Payments on a user's admin page: the state first, then charges, grants and Stripe's events."""

from datetime import UTC, datetime
from typing import Any

from django.http import HttpRequest
from django.template.loader import render_to_string
from django.urls import reverse
from djstripe.models import Customer, Invoice

from accounts.models import User
from billing.admin import invoices
from billing.models import WebhookEvent
from billing.money import format_amount
from billing.payments import dashboard_links, disputes, stripe_mirror, subscription_state, wording
from billing.payments.subscription_state import Subscription

ROWS_PER_TABLE = 10
PERMISSIONS = {
    "grants": "billing.view_grant",
    "subscriptions": "djstripe.view_subscription",
    "invoices": "djstripe.view_invoice",
    "events": "billing.view_webhookevent",
}


def facts(request: HttpRequest, user: User) -> list[tuple[str, str]]:
    """Return the answers for the top of the page: is it paid, and may the user buy?"""
    if not request.user.has_perm(PERMISSIONS["subscriptions"]):
        return []
    found = subscription_state.list_for_user(user)
    current = subscription_state.select_current(found)
    blocked = "blocked: a payment is disputed" if disputes.blocks_checkout(user) else "open"
    said = _describe(current) if current else "none"
    if current and disputes.ends_paid_tier(user):
        said += "; gives no tier, since a dispute was lost"
    return [("Subscription", said), ("Checkouts", blocked)]


def render(request: HttpRequest, user: User) -> str:
    """Render subscriptions, charges, grants and Stripe's events, by permission."""
    visible = {name for name, permission in PERMISSIONS.items() if request.user.has_perm(permission)}
    customer = stripe_mirror.get_customer(user)
    context: dict[str, Any] = {"visible": visible, "customer": customer}
    if "grants" in visible:
        context["grants"] = user.grants.select_related("tier")[:ROWS_PER_TABLE]
    if customer:
        context |= {name: make(customer) for name, make in TABLES.items() if name in visible}
        context["customer_url"] = dashboard_links.link_to("customers", customer.id, livemode=bool(customer.livemode))
        if "subscriptions" in visible:
            context["blocking"] = _list_blocking(user)
    return render_to_string("admin/accounts/payments.html", context) if visible else ""


def _describe(subscription: Subscription) -> str:
    state = wording.describe_subscription(subscription, datetime.now(UTC))
    return f"{subscription.tier or 'unknown price'}: {state}"


def _list_blocking(user: User) -> str:
    found = [each.stripe_data for each in disputes.list_blocking(user)[:ROWS_PER_TABLE]]
    return "; ".join(
        f"a dispute about {format_amount(each['amount'], each['currency'])} of {wording.format_day(each['created'])}, "
        f"{wording.describe_dispute(each)}"
        for each in found
    )


def _subscription_rows(customer: Customer) -> list[dict[str, str]]:
    now = datetime.now(UTC)
    pages = dict(customer.subscriptions.values_list("id", "pk"))
    return [
        {
            "tier": each.tier or "",
            "state": wording.describe_subscription(each, now),
            "began": wording.format_day(each.created_at),
            "url": reverse("admin:djstripe_subscription_change", args=[pages[each.id]]),
        }
        for each in subscription_state.list_for_customer(customer)[:ROWS_PER_TABLE]
    ]


def _invoice_rows(customer: Customer) -> list[dict[str, str]]:
    rows = customer.invoices.order_by("-created").prefetch_related("charges__disputes")[:ROWS_PER_TABLE]
    return [_describe_invoice(row) for row in rows]


def _describe_invoice(row: Invoice) -> dict[str, str]:
    return {
        "number": invoices.number_of(row),
        "made": wording.format_day(row.created),
        "amount": format_amount(row.stripe_data["amount_due"], invoices.currency_of(row)),
        "state": wording.invoice_state(row.stripe_data, invoices.dispute_data(row)),
        "tier": row.stripe_data["tier"] or "unknown price",
        "card": invoices.card_of(row),
        "url": reverse("admin:djstripe_invoice_change", args=[row.pk]),
    }


def _event_rows(customer: Customer) -> list[dict[str, Any]]:
    events = WebhookEvent.objects.filter(customer_id=customer.id)[:ROWS_PER_TABLE]
    return [
        {"id": each.pk, "what": wording.EVENTS.get(each.kind, each.kind), "handled_at": each.handled_at}
        for each in events
    ]


TABLES = {"subscriptions": _subscription_rows, "invoices": _invoice_rows, "events": _event_rows}
