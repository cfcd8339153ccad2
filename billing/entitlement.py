"""Which tier a user has: the highest of what subscriptions and staff's grants give (BILLING.md, rules)."""

from collections.abc import Iterable
from datetime import datetime

from billing import tiers
from billing.models import Grant
from billing.standing import Subscription


def tier(subscriptions: Iterable[Subscription], grants: Iterable[Grant], now: datetime) -> str:
    """The name of the tier that counts at this moment."""
    given = [each.tier for each in subscriptions if each.tier and each.counts(now)]
    given += [grant.tier.name for grant in grants if grant.counts(now)]
    return max(given, key=lambda name: tiers.of(name).rank, default=tiers.FREE)
