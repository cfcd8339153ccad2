"""What an owner may use: the one place where bounds are read."""

from accounts.models import User
from billing import tiers
from billing.models import Tier


def for_owner(owner: User) -> Tier:
    """Return the bounds of an owner, as staff have set them for the owner's tier in the database at this moment."""
    return tiers.get(owner.tier)
