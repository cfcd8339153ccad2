"""The only writer of a user's tier."""

from accounts import audit
from accounts.audit import Action
from accounts.models import User
from billing import tiers
from lunaos.errors import ValidationFailed


def set_tier(*, user: User, tier: str, actor: User | None = None) -> None:
    """Give a user a tier; it counts from the next request on.

    Args:
        actor: the staff member who does; None for a command.

    Raises:
        ValidationFailed: there is no such tier.
    """
    if tier not in tiers.names():
        raise ValidationFailed.of("tier", f"There is no tier {tier!r}; there are {', '.join(tiers.names())}.")
    before, user.tier = user.tier, tier
    User.objects.filter(pk=user.pk).update(tier=tier)
    audit.record(Action.TIER_CHANGED, actor=actor, subject=user, before=before, after=tier)
