"""Disputes of payments, and what they mean for a user: no new checkout, and no paid tier once one is lost."""

from enum import StrEnum

from django.db.models import Q, QuerySet
from djstripe.models import Dispute

from accounts.models import User
from billing.models import DisputeWaiver
from billing.payments import stripe_mirror

# Stripe's statuses in which a dispute or an inquiry has ended without a loss; "prevented" was refunded instead.
SETTLED_STATUSES = ("won", "warning_closed", "prevented")


class Phase(StrEnum):
    """Meaning of a dispute's status for billing."""

    OPEN = "open"  # also a status that Stripe adds later
    SETTLED = "settled"
    LOST = "lost"


def phase_of(status: str) -> Phase:
    if status == stripe_mirror.LOST:
        return Phase.LOST
    return Phase.SETTLED if status in SETTLED_STATUSES else Phase.OPEN


def list_for_user(user: User) -> QuerySet[Dispute]:
    """Return all disputes of a user's payments, the newest first."""
    own_disputes = Dispute.objects.filter(stripe_mirror.in_current_mode(), charge__customer__subscriber=user)
    return own_disputes.select_related("charge__invoice").order_by("-created")


def list_blocking(user: User) -> QuerySet[Dispute]:
    """Return the disputes that are open, or lost and not waived by staff."""
    waived = DisputeWaiver.objects.filter(user=user).values("dispute_id")
    return list_for_user(user).exclude(Q(stripe_data__status__in=SETTLED_STATUSES) | Q(id__in=waived))


def list_lost(user: User) -> QuerySet[Dispute]:
    """Return the lost disputes that staff have not waived."""
    return list_blocking(user).filter(stripe_data__status=stripe_mirror.LOST)


def blocks_checkout(user: User) -> bool:
    """Return whether a user may not start or upgrade a subscription."""
    return list_blocking(user).exists()


def ends_paid_tier(user: User) -> bool:
    """Return whether a user's subscriptions give no tier."""
    return list_lost(user).exists()
