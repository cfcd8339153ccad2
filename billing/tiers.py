"""What each tier allows (CONTRACT, section 4): rows that staff may change, as this process knows them.

Every request needs them and they change a few times a year; a change counts within FRESH_S everywhere.
"""

import time
from dataclasses import dataclass

from django.conf import settings

from billing.models import Tier

FREE = "free"
FRESH_S = 3.0


@dataclass(frozen=True, slots=True)
class _Known:
    tiers: dict[str, Tier]
    read_at: float


_known: _Known | None = None


def everything() -> list[Tier]:
    """All tiers, the lowest first."""
    return list(_current().values())


def names() -> list[str]:
    """Their names, the lowest first."""
    return list(_current())


def of(name: str) -> Tier:
    """The tier of that name; an unknown one counts as the lowest, which never gives too much."""
    known = _current()
    return known.get(name) or next(iter(known.values()))


def allows(tier: str, required: str) -> bool:
    """Whether a user of `tier` may use what asks for `required`; nobody may where there is no such tier."""
    return required in _current() and of(tier).rank >= of(required).rank


def upgrade_url() -> str:
    """Where a person goes to get a higher tier."""
    return f"{settings.PUBLIC_URL}/docs#/billing"


def forget() -> None:
    """Read anew on the next use."""
    global _known
    _known = None


def _current() -> dict[str, Tier]:
    global _known
    if _known is None or time.monotonic() - _known.read_at > FRESH_S:
        _known = _Known({tier.name: tier for tier in Tier.objects.all()}, time.monotonic())
    return _known.tiers
