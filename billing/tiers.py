"""What each tier allows (CONTRACT, section 4): rows that staff may change, as this process knows them."""

from django.conf import settings

from billing.models import Tier
from lunaos.infra.ttl_cache import Snapshot

FREE = Tier.FREE


def _load() -> dict[str, Tier]:
    return {tier.name: tier for tier in Tier.objects.all()}


_current = Snapshot(_load)


def list_all() -> list[Tier]:
    """All tiers, the lowest first."""
    return list(_current().values())


def names() -> list[str]:
    """Their names, the lowest first."""
    return list(_current())


def get(name: str) -> Tier:
    """The tier of that name; an unknown one counts as the lowest, which never gives too much."""
    known = _current()
    return known.get(name) or next(iter(known.values()))


def allows(tier: str, required: str) -> bool:
    """Whether a user of `tier` may use what asks for `required`; nobody may where there is no such tier."""
    return required in _current() and get(tier).rank >= get(required).rank


def upgrade_url() -> str:
    """Where a person goes to get a higher tier."""
    return f"{settings.PUBLIC_URL}/docs#/billing"


def clear_cache() -> None:
    """Read anew on the next use."""
    _current.forget()
