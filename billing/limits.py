"""Limits of an owner; every module reads them here."""

from accounts.models import User
from billing import tiers
from billing.models import Tier


def for_owner(owner: User) -> Tier:
    """Return the limits of an owner's tier, as staff have set them in the database."""
    return tiers.get(owner.tier)
