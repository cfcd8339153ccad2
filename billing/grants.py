"""The only writer of a user's tier, and what staff grant."""

from collections.abc import Iterable
from datetime import UTC, datetime

from django.db import transaction
from django.db.models import F

from accounts.auditlog import trail
from accounts.auditlog.trail import Action
from accounts.models import User
from billing import quota, tiers
from billing.models import Grant
from billing.payments import stripe_client, stripe_mirror, subscription_state
from billing.payments.subscription_state import Subscription
from lunaos.errors import ValidationFailed


@transaction.atomic
def recalculate_tier(user: User, *, actor: User | None = None) -> str:
    """Give a user the tier that subscriptions and grants come to; it counts from the next request on.

    Args:
        actor: the staff member whose doing it is; None for Stripe's events, for time that passes, for a command.

    Returns:
        The tier.
    """
    now = datetime.now(UTC)
    mine = _locked(user)
    if mine is None:  # deleted meanwhile
        return tiers.FREE
    if Grant.objects.due().filter(user=mine).update(ended_at=F("until")):
        trail.record(Action.TIER_GRANT_ENDED, subject=mine)
    tier = _highest_tier(subscription_state.of_user(mine), Grant.objects.running(mine), now)
    if tier != mine.tier:
        User.objects.filter(pk=mine.pk).update(tier=tier)
        quota.tell_again(mine, now)
        trail.record(Action.TIER_CHANGED, actor=actor, subject=mine, before=mine.tier, after=tier)
    user.tier = tier
    return tier


def _highest_tier(subscriptions: Iterable[Subscription], grants: Iterable[Grant], now: datetime) -> str:
    """Return the name of the highest tier that subscriptions and staff's grants give (BILLING.md, rules)."""
    given = [each.tier for each in subscriptions if each.tier and each.counts(now)]
    given += [grant.tier.name for grant in grants if grant.counts(now)]
    return max(given, key=lambda name: tiers.of(name).rank, default=tiers.FREE)


def _locked(user: User) -> User | None:
    """The user's row, before anything else of the user's is: so nobody waits for one another."""
    return User.objects.select_for_update(no_key=True).filter(pk=user.pk).first()


@transaction.atomic
def grant(*, user: User, tier: str, reason: str, until: datetime | None = None, actor: User | None = None) -> Grant:
    """Give a user a tier until a time, whatever is paid for.

    Args:
        until: None for a grant without an end.
        actor: the staff member who does; None for a command.

    Raises:
        ValidationFailed: there is no such tier, or the time is past.
    """
    if tier not in tiers.names():
        raise ValidationFailed.for_field("tier", f"There is no tier {tier!r}; there are {', '.join(tiers.names())}.")
    if until and until <= datetime.now(UTC):
        raise ValidationFailed.for_field("until", "This time is past.")
    _locked(user)
    made = Grant.objects.create(user=user, tier_id=tier, until=until, reason=reason, granted_by=actor)
    end = until.isoformat() if until else None
    trail.record(Action.TIER_GRANTED, actor=actor, subject=user, tier=tier, until=end, reason=reason)
    recalculate_tier(user, actor=actor)
    return made


@transaction.atomic
def end_grants(*, user: User, actor: User | None = None) -> int:
    """Take back all that staff have granted a user; what is paid for stays.

    Returns:
        How many grants were still running.
    """
    ended = _end_running(user, actor)
    recalculate_tier(user, actor=actor)
    return ended


@transaction.atomic
def set_tier(
    *,
    user: User,
    tier: str,
    until: datetime | None = None,
    actor: User | None = None,
    reason: str = "Set by an operator.",
) -> None:
    """Grant a tier in the place of all earlier grants; the lowest one grants nothing.

    Args:
        until: None for one without an end.

    Raises:
        ValidationFailed: there is no such tier, or the time is past.
    """
    _end_running(user, actor, reason=reason)
    if tier == tiers.FREE:
        recalculate_tier(user, actor=actor)
    else:
        grant(user=user, tier=tier, until=until, reason=reason, actor=actor)


def _end_running(user: User, actor: User | None, **details: str) -> int:
    _locked(user)
    ended = Grant.objects.running(user).update(ended_at=datetime.now(UTC))
    if ended:
        trail.record(Action.TIER_GRANT_ENDED, actor=actor, subject=user, **details)
    return ended


def recalculate_due() -> int:
    """Settle those whom no event moves: a grant ends, a payment stays due too long, the key is of another mode.

    Returns:
        How many were looked at.
    """
    ending = User.objects.filter(pk__in=Grant.objects.due().values("user"))
    paying = User.objects.exclude(tier=tiers.FREE)
    behind = paying.filter(djstripe_customers__subscriptions__stripe_data__status="past_due")
    at_play = paying.filter(djstripe_customers__isnull=False).exclude(
        stripe_mirror.of_this_mode("djstripe_customers__")
    )
    users = {user.pk: user for user in [*ending, *behind, *(at_play if stripe_client.is_configured() else ())]}
    for user in users.values():
        recalculate_tier(user)
    return len(users)
