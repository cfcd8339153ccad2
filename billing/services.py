"""The only writer of a user's tier."""

from accounts.models import User
from billing import tiers
from lunaos.errors import ValidationFailed


def set_tier(*, user: User, tier: str) -> None:
    """Give a user a tier; it counts from the next request on.

    Raises:
        ValidationFailed: there is no such tier.
    """
    if tier not in tiers.TIERS:
        raise ValidationFailed.of("tier", f"There is no tier {tier!r}; there are {', '.join(tiers.TIERS)}.")
    User.objects.filter(pk=user.pk).update(tier=tier)
    user.tier = tier
