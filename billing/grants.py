"""Recalculate users' tiers, and manage the tiers that staff grant or restore."""

# No other module writes `User.tier`.

from collections.abc import Iterable
from datetime import UTC, datetime

from django.db import transaction
from django.db.models import F

from accounts.auditlog import trail
from accounts.auditlog.trail import Action
from accounts.models import User
from billing import quota, tiers
from billing.models import DisputeWaiver, Grant
from billing.payments import disputes, stripe_connection, stripe_mirror, subscription_state
from billing.payments.subscription_state import Subscription
from lunaos.errors import ValidationFailed


@transaction.atomic
def recalculate_tier(user: User, *, actor: User | None = None) -> str:
    """Set a user's tier to the highest that subscriptions and grants give, and return it."""
    # The tier counts from the next request on, and `user.tier` is updated in place. `actor` is None for Stripe's
    # events, periodic tasks and commands.
    now = datetime.now(UTC)
    locked = _lock_user(user)
    if locked is None:  # the account was deleted meanwhile
        return tiers.FREE
    if Grant.objects.due().filter(user=locked).update(ended_at=F("until")):
        trail.record_on_commit(Action.TIER_GRANT_ENDED, subject=locked)
    subscriptions = [] if disputes.ends_paid_tier(locked) else subscription_state.list_for_user(locked)
    tier = _highest_tier(subscriptions, Grant.objects.active(locked), now)
    if tier != locked.tier:
        User.objects.filter(pk=locked.pk).update(tier=tier)
        quota.reset_warnings(locked, now)
        trail.record_on_commit(Action.TIER_CHANGED, actor=actor, subject=locked, before=locked.tier, after=tier)
    user.tier = tier
    return tier


def _highest_tier(subscriptions: Iterable[Subscription], grants: Iterable[Grant], now: datetime) -> str:
    # BILLING.md lists the rules.
    names = [each.tier for each in subscriptions if each.tier and each.gives_tier(now)]
    names += [grant.tier.name for grant in grants if grant.is_active(now)]
    return max(names, key=lambda name: tiers.get(name).rank, default=tiers.FREE)


def _lock_user(user: User) -> User | None:
    # Every writer locks this row before any other row of the user, so that writers do not deadlock.
    return User.objects.select_for_update(no_key=True).filter(pk=user.pk).first()


@transaction.atomic
def grant(*, user: User, tier: str, reason: str, until: datetime | None = None, actor: User | None = None) -> Grant:
    """Give a tier until a time in UTC, or without an end, whatever is paid; may raise ValidationFailed."""
    if tier not in tiers.names():
        raise ValidationFailed.for_field(
            "tier", f"There is no tier {tier!r}. Choose one of {', '.join(tiers.names())}."
        )
    if until and until <= datetime.now(UTC):
        raise ValidationFailed.for_field("until", f"The time {until.isoformat()} is in the past.")
    _lock_user(user)
    created = Grant.objects.create(user=user, tier_id=tier, until=until, reason=reason, granted_by=actor)
    end = until.isoformat() if until else None
    trail.record_on_commit(Action.TIER_GRANTED, actor=actor, subject=user, tier=tier, until=end, reason=reason)
    recalculate_tier(user, actor=actor)
    return created


@transaction.atomic
def end_grants(*, user: User, actor: User | None = None) -> int:
    """End all grants of a user and return how many there were."""
    # The tier that is paid for stays.
    ended = _end_active_grants(user, actor)
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
    """Replace all grants of a user by one."""
    # The free tier leaves none; raise as `grant`.
    _end_active_grants(user, actor, reason=reason)
    if tier == tiers.FREE:
        recalculate_tier(user, actor=actor)
    else:
        grant(user=user, tier=tier, until=until, reason=reason, actor=actor)


@transaction.atomic
def waive_lost_disputes(*, user: User, reason: str, actor: User | None = None) -> int:
    """Let a subscription count again although disputes were lost; return how many there were."""
    # Checkouts are open again, too. A dispute that is lost later blocks them anew.
    _lock_user(user)
    lost = list(disputes.list_lost(user).values_list("id", flat=True))
    DisputeWaiver.objects.bulk_create(
        DisputeWaiver(dispute_id=id_, user=user, reason=reason, waived_by=actor) for id_ in lost
    )
    if lost:
        trail.record_on_commit(Action.DISPUTE_WAIVED, actor=actor, subject=user, disputes=lost, reason=reason)
    recalculate_tier(user, actor=actor)
    return len(lost)


def _end_active_grants(user: User, actor: User | None, **details: str) -> int:
    _lock_user(user)
    ended = Grant.objects.active(user).update(ended_at=datetime.now(UTC))
    if ended:
        trail.record_on_commit(Action.TIER_GRANT_ENDED, actor=actor, subject=user, **details)
    return ended


def recalculate_due_tiers() -> int:
    """Recalculate the tiers that no event of Stripe's would change; return the number of users."""
    # These are tiers of users with an expired grant or an overdue payment, or whose customer belongs to the other
    # mode of Stripe than the key.
    expired = User.objects.filter(pk__in=Grant.objects.due().values("user"))
    paying = User.objects.exclude(tier=tiers.FREE)
    overdue = paying.filter(djstripe_customers__subscriptions__stripe_data__status="past_due")
    other_mode = paying.filter(djstripe_customers__isnull=False).exclude(
        stripe_mirror.in_current_mode("djstripe_customers__")
    )
    users = {user.pk: user for user in [*expired, *overdue, *(other_mode if stripe_connection.is_configured() else ())]}
    for user in users.values():
        recalculate_tier(user)
    return len(users)
