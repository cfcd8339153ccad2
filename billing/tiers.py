"""Tiers and their limits (CONTRACT, section 4): rows that staff can change, cached for seconds."""

# To add a tier, staff add a row in the admin: its name, a rank above the tiers whose agents it may use, its limits.
# To sell the tier, set a price and a lookup key, then run `manage.py sync_stripe_plans`.

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from billing.models import Tier
from lunaos.infra.mails import page_url
from lunaos.infra.ttl_cache import TtlCache

FREE = Tier.FREE
PRICING_PATH = "/pricing"


def _load() -> dict[str, Tier]:
    return {tier.name: tier for tier in Tier.objects.all()}


_current = TtlCache(_load)


def list_all() -> list[Tier]:
    """Return all tiers, the lowest first."""
    return list(_current().values())


def names() -> list[str]:
    """Return the names of all tiers, the lowest first."""
    return list(_current())


def get(name: str) -> Tier:
    """Return a tier by name; the lowest for an unknown name."""
    known = _current()
    return known.get(name) or next(iter(known.values()))


def allows(tier: str, required: str) -> bool:
    """Return whether a user of `tier` may use what requires `required`; False for an unknown one."""
    return required in _current() and get(tier).rank >= get(required).rank


def retention_days(name: str) -> int:
    """Return the days for which inputs, outputs and events of a tier's runs are kept."""
    # A tier that LUNAOS_RETENTION_DAYS does not name, as one that staff have added, has the days of the next lower
    # tier that it names. Free is always named.
    rank = get(name).rank
    named = (tier for tier in reversed(list_all()) if tier.rank <= rank and tier.name in settings.RETENTION_DAYS)
    return next((settings.RETENTION_DAYS[tier.name] for tier in named), settings.RETENTION_DAYS[FREE])


def check_settings() -> None:
    """Raise ImproperlyConfigured if LUNAOS_RETENTION_DAYS names a tier that does not exist."""
    # The settings cannot do so: the tiers are rows of the database.
    if unknown := sorted(settings.RETENTION_DAYS.keys() - {*names()}):
        raise ImproperlyConfigured(
            f"LUNAOS_RETENTION_DAYS names {', '.join(unknown)}, which is no tier: there are {', '.join(names())}. "
            "Correct the name, or add the tier in the admin first."
        )


def upgrade_url(current: str) -> str:
    """Return the address of the page on which a user of a tier can get the next higher one."""
    higher = (tier.name for tier in list_all() if tier.rank > get(current).rank)
    return pricing_url(next(higher, ""))


def pricing_url(tier: str) -> str:
    """Return the address of the page of the plans, with a tier chosen in its form."""
    return page_url(PRICING_PATH, tier=tier) if tier else page_url(PRICING_PATH)


def clear_cache() -> None:
    """Read the tiers again on the next use."""
    _current.forget()
