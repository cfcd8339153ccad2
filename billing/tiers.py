"""What each tier allows (CONTRACT, section 4). The one place that knows."""

from dataclasses import dataclass

from django.conf import settings


@dataclass(frozen=True, slots=True)
class Tier:
    """A tier's limits.

    Args:
        rank: a higher tier may do all that a lower one may.
        executions: agent and chain executions a UTC calendar month.
        requests_per_minute: across all of a user's tokens and keys.
        api_keys: active keys a user may hold.
    """

    name: str
    rank: int
    executions: int
    requests_per_minute: int
    api_keys: int = 5


TIERS = {
    tier.name: tier
    for tier in (
        Tier("free", rank=0, executions=100, requests_per_minute=60),
        Tier("pro", rank=1, executions=10_000, requests_per_minute=600),
        Tier("team", rank=2, executions=100_000, requests_per_minute=6_000),
    )
}


def of(name: str) -> Tier:
    """The tier of that name; an unknown one counts as free, which never gives too much."""
    return TIERS.get(name, TIERS["free"])


def allows(tier: str, required: str) -> bool:
    """Whether a user of `tier` may use what asks for `required`."""
    return of(tier).rank >= of(required).rank


def upgrade_url() -> str:
    """Where a person goes to get a higher tier."""
    return f"{settings.PUBLIC_URL}/docs#/billing"
