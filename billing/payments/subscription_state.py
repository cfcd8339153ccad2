"""Where a user stands, from what Stripe said last: the same for staff, for the API, and for the tier (BILLING.md)."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django.conf import settings
from djstripe.models import Customer, Invoice
from djstripe.models import Subscription as Row

from accounts.models import User
from billing import tiers
from billing.payments import stripe_mirror
from billing.payments.stripe_client import TIER_KEY

PAID_STATUSES = ("active", "trialing")
NO_SUBSCRIPTION = "none"
ENDED_STATUSES = ("canceled", "incomplete_expired")  # for ever
NEVER_PAID_STATUSES = ("incomplete", *ENDED_STATUSES)


@dataclass(frozen=True, slots=True)
class Subscription:
    """One of a user's subscriptions.

    Args:
        status: Stripe's.
        tier: what its price stands for; None for a price that is not of a tier.
        period_start, period_end: of the period that is paid or due; of several items the latest.
        cancels: it ends with the period.
        unpaid_since: when the oldest invoice that is open was made; None where all are paid.
    """

    id: str
    status: str
    tier: str | None
    period_start: datetime
    period_end: datetime
    created_at: datetime
    cancels: bool = False
    unpaid_since: datetime | None = None

    @property
    def is_live(self) -> bool:
        """Whether it may still be charged for."""
        return self.status not in ENDED_STATUSES

    def gives_tier(self, now: datetime) -> bool:
        """Whether it gives its tier at this moment."""
        if self.status in PAID_STATUSES:
            return True
        since = self.unpaid_since or self.period_start
        return self.status == "past_due" and now - since < settings.PAYMENT_GRACE


@dataclass(frozen=True, slots=True)
class SubscriptionState:
    """What a user is told.

    Args:
        tier: that counts.
        status: of the subscription, Stripe's; NO_SUBSCRIPTION where there is none.
    """

    tier: str
    status: str
    subscription: Subscription | None


def get_state(user: User) -> SubscriptionState:
    """Where a user stands, in the words of `GET /billing/subscription`."""
    current = select_current(list_for_user(user))
    return SubscriptionState(user.tier, current.status if current else NO_SUBSCRIPTION, current)


def list_for_user(user: User) -> list[Subscription]:
    """All that a user has or had, the newest first."""
    rows = Row.objects.filter(stripe_mirror.in_current_mode(), customer__subscriber=user).order_by(
        "-created", "-djstripe_id"
    )
    return from_rows(rows)


def list_for_customer(customer: Customer) -> list[Subscription]:
    """The same of one customer."""
    return from_rows(customer.subscriptions.order_by("-created", "-djstripe_id"))


def from_rows(rows: Iterable[Row]) -> list[Subscription]:
    """Mirrored rows as what they mean."""
    rows = list(rows)
    unpaid = _find_unpaid_since(row.id for row in rows if row.stripe_data["status"] == "past_due")
    return [from_row(row, unpaid.get(row.id)) for row in rows]


def select_current(subscriptions: list[Subscription]) -> Subscription | None:
    """The one that a person means by "my subscription": of the live ones the highest, and of those the newest."""
    live = [subscription for subscription in subscriptions if subscription.is_live]
    return max(live, key=lambda each: (each.status in PAID_STATUSES, _rank(each), each.created_at), default=None)


def tier_of_price(price: dict[str, Any]) -> str | None:
    """The tier that a price stands for: by its lookup key, or what it was made for where that key has moved on."""
    for tier in tiers.list_all():
        if tier.lookup_key and tier.lookup_key == price.get("lookup_key"):
            return tier.name
    made_for = (price.get("metadata") or {}).get(TIER_KEY)
    return made_for if made_for in tiers.names() else None


def tier_of_items(data: dict[str, Any]) -> str | None:
    """The highest tier of a subscription's items."""
    found = [tier for item in data["items"]["data"] if (tier := tier_of_price(item["price"]))]
    return max(found, key=lambda tier: tiers.get(tier).rank, default=None)


def summarize(data: dict[str, Any]) -> str:
    """A stored subscription in a few words, for the audit trail; empty where there was none."""
    if not data:
        return ""
    ends = ", to end" if data["cancel_at_period_end"] or data["cancel_at"] else ""
    return f"{data['status']} {tier_of_items(data) or 'unknown'}{ends}"


def _rank(subscription: Subscription) -> int:
    return tiers.get(subscription.tier).rank if subscription.tier else -1


def from_row(row: Row, unpaid_since: datetime | None = None) -> Subscription:
    """One mirrored row as what it means."""
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
    )


def _find_unpaid_since(subscription_ids: Iterable[str]) -> dict[str, datetime]:
    ids = list(subscription_ids)
    rows = Invoice.objects.filter(stripe_data__subscription__in=ids, stripe_data__status="open") if ids else ()
    return {row.stripe_data["subscription"]: row.created for row in sorted(rows, key=_created_at, reverse=True)}


def _created_at(row: Invoice) -> datetime:
    return row.created


def _to_utc(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
