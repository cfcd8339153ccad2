"""Subscriptions and their meaning (BILLING.md), read from the rows that mirror Stripe."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django.conf import settings
from djstripe.models import Customer, Invoice
from djstripe.models import Subscription as Row

from accounts.models import User
from billing import tiers
from billing.payments import disputes, stripe_mirror
from billing.payments.stripe_client import TIER_KEY

PAID_STATUSES = ("active", "trialing")
NO_SUBSCRIPTION = "none"
ENDED_STATUSES = ("canceled", "incomplete_expired")  # final: Stripe never reactivates these
NEVER_PAID_STATUSES = ("incomplete", *ENDED_STATUSES)


@dataclass(frozen=True, slots=True)
class Subscription:
    """One of a user's subscriptions, with Stripe's id and status."""

    # `tier` is None for a price of no tier. The period is the one that is paid or due, the latest of several items.
    # `cancels`: it ends with the period. `unpaid_since` is when the oldest open invoice was created.

    id: str
    status: str
    tier: str | None
    period_start: datetime
    period_end: datetime
    created_at: datetime
    cancels: bool = False
    unpaid_since: datetime | None = None
    ended_at: datetime | None = None

    @property
    def is_live(self) -> bool:
        """Return whether Stripe may still charge for the subscription."""
        return self.status not in ENDED_STATUSES

    @property
    def is_paid(self) -> bool:
        """Return whether the current period is paid, or is a trial."""
        return self.status in PAID_STATUSES

    def gives_tier(self, now: datetime) -> bool:
        """Return whether the subscription gives its tier at this moment."""
        if self.is_paid:
            return True
        since = self.unpaid_since or self.period_start
        return self.status == "past_due" and now - since < settings.PAYMENT_GRACE


@dataclass(frozen=True, slots=True)
class SubscriptionState:
    """A user's tier and current subscription, as the API returns them."""

    # `status` is Stripe's, or NO_SUBSCRIPTION. `checkout_blocked` is set while a payment is disputed, or was lost.

    tier: str
    status: str
    subscription: Subscription | None
    checkout_blocked: bool


def get_state(user: User) -> SubscriptionState:
    current = select_current(list_for_user(user))
    status = current.status if current else NO_SUBSCRIPTION
    return SubscriptionState(user.tier, status, current, disputes.blocks_checkout(user))


def list_for_user(user: User) -> list[Subscription]:
    """Return all subscriptions of a user, ended ones included, the newest first."""
    rows = Row.objects.filter(stripe_mirror.in_current_mode(), customer__subscriber=user).order_by(
        "-created", "-djstripe_id"
    )
    return from_rows(rows)


def list_for_customer(customer: Customer) -> list[Subscription]:
    """Return all subscriptions of a customer, ended ones included, the newest first."""
    return from_rows(customer.subscriptions.order_by("-created", "-djstripe_id"))


def from_rows(rows: Iterable[Row]) -> list[Subscription]:
    rows = list(rows)
    unpaid = _find_unpaid_since(row.id for row in rows if row.stripe_data["status"] == "past_due")
    return [from_row(row, unpaid.get(row.id)) for row in rows]


def select_current(subscriptions: list[Subscription]) -> Subscription | None:
    """Return the subscription that a user means by "my subscription"."""
    # Among the live ones a paid one comes first, then the one with the highest tier, then the newest.
    live = [subscription for subscription in subscriptions if subscription.is_live]
    return max(live, key=lambda each: (each.is_paid, _rank(each), each.created_at), default=None)


def tier_of_price(price: dict[str, Any]) -> str | None:
    """Return the tier of a price, by its lookup key or else its metadata."""
    # The metadata name the tier that the price was created for. They count where a newer price has taken the lookup
    # key.
    for tier in tiers.list_all():
        if tier.lookup_key and tier.lookup_key == price.get("lookup_key"):
            return tier.name
    made_for = (price.get("metadata") or {}).get(TIER_KEY)
    return made_for if made_for in tiers.names() else None


def tier_of_items(data: dict[str, Any]) -> str | None:
    """Return the highest tier of a subscription's items."""
    found = [tier for item in data["items"]["data"] if (tier := tier_of_price(item["price"]))]
    return max(found, key=lambda tier: tiers.get(tier).rank, default=None)


def summarize(data: dict[str, Any]) -> str:
    """Summarise a stored subscription for the audit trail; empty for no data."""
    if not data:
        return ""
    ends = ", to end" if data["cancel_at_period_end"] or data["cancel_at"] else ""
    return f"{data['status']} {tier_of_items(data) or 'unknown'}{ends}"


def _rank(subscription: Subscription) -> int:
    return tiers.get(subscription.tier).rank if subscription.tier else -1


def from_row(row: Row, unpaid_since: datetime | None = None) -> Subscription:
    data = row.stripe_data
    items = data["items"]["data"]
    return Subscription(
        id=row.id,
        status=data["status"],
        tier=tier_of_items(data),
        period_start=_to_utc(max((item["current_period_start"] for item in items), default=data["created"])),
        period_end=_to_utc(max((item["current_period_end"] for item in items), default=data["created"])),
        created_at=_to_utc(data["created"]),
        cancels=bool(data["cancel_at_period_end"] or data["cancel_at"]),
        unpaid_since=unpaid_since,
        ended_at=_to_utc(data["ended_at"]) if data.get("ended_at") else None,
    )


def _find_unpaid_since(subscription_ids: Iterable[str]) -> dict[str, datetime]:
    ids = list(subscription_ids)
    rows = Invoice.objects.filter(stripe_data__subscription__in=ids, stripe_data__status="open") if ids else ()
    return {row.stripe_data["subscription"]: row.created for row in sorted(rows, key=_created_at, reverse=True)}


def _created_at(row: Invoice) -> datetime:
    return row.created


def _to_utc(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
