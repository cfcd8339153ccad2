"""Plans at Stripe: a product and a price, found by its lookup key, for each tier that costs something."""

from dataclasses import dataclass
from decimal import Decimal

import stripe

from accounts.auditlog import alerts
from billing import tiers
from billing.errors import BillingNotConfigured
from billing.models import Tier
from billing.payments import stripe_client


@dataclass(frozen=True, slots=True)
class Plan:
    """The result of `sync_plans` for one tier."""

    # `is_new` marks a price that was created now; subscribers of an older price keep that one.

    tier: str
    lookup_key: str
    price_id: str
    is_new: bool


def list_tiers_on_sale() -> list[Tier]:
    """Return the tiers that users can subscribe to."""
    return [tier for tier in tiers.list_all() if tier.lookup_key and tier.price_usd > 0]


def get_price_id(tier: str) -> str:
    """Return the id of a tier's current price, or raise BillingNotConfigured (`manage.py sync_stripe_plans`)."""
    lookup_key = tiers.get(tier).lookup_key
    found = stripe_client.list_prices([lookup_key])
    if not found:
        alerts.send("no_price", "A tier on sale has no price at Stripe: run manage.py sync_stripe_plans.", tier=tier)
        raise BillingNotConfigured()
    return found[0].id


def sync_plans() -> list[Plan]:
    """Create the missing prices at Stripe, by the tiers' rows."""
    # A changed price becomes a new price that takes over the lookup key.
    return [_sync_tier(tier) for tier in list_tiers_on_sale()]


def _sync_tier(tier: Tier) -> Plan:
    current = next(iter(stripe_client.list_prices([tier.lookup_key])), None)
    if current and _matches_price(current, tier.price_usd):
        return Plan(tier.name, tier.lookup_key, current.id, is_new=False)
    name = f"LunaOS {tier.name.title()}"
    product_id = (
        stripe_client.id_of(current.product) if current else stripe_client.create_product(tier=tier.name, name=name)
    )
    price_id = stripe_client.create_price(
        product_id=product_id, tier=tier.name, cents=int(tier.price_usd * 100), lookup_key=tier.lookup_key
    )
    return Plan(tier.name, tier.lookup_key, price_id, is_new=True)


def _matches_price(price: stripe.Price, price_usd: Decimal) -> bool:
    monthly = price.recurring and (price.recurring.interval, price.recurring.interval_count) == ("month", 1)
    return bool(monthly) and price.currency == "usd" and price.unit_amount == int(price_usd * 100)
