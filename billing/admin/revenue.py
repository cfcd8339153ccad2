"""Revenue from the invoices of the last months."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from django.db.models import DecimalField, F, Sum
from django.db.models.fields.json import KT
from django.db.models.functions import Cast, Coalesce, TruncMonth
from djstripe.models import Invoice

from billing.payments import stripe_mirror

CENTS_PER_USD = 100


def by_month_and_tier(months: int = 12) -> list[dict[str, Any]]:
    """Return what the invoices of the last calendar months brought in USD, the newest first, by tier."""
    # Refunds and lost disputes are deducted in the month of their invoice.
    invoices = Invoice.objects.filter(
        stripe_mirror.in_current_mode(),
        created__gte=_start_of_month(months - 1),
        stripe_data__status="paid",
        stripe_data__currency="usd",
    )
    by_month = invoices.values(month=TruncMonth("created"), tier=KT("stripe_data__tier"))
    sums = by_month.annotate(paid=_usd("amount_paid"), refunded=_usd("amount_refunded"), lost=_usd("amount_lost"))
    return list(sums.annotate(net=F("paid") - F("refunded") - F("lost")).order_by(F("month").desc(), "tier"))


def _usd(name: str) -> Any:
    cents = Cast(KT(f"stripe_data__{name}"), DecimalField(max_digits=14, decimal_places=2))
    return Coalesce(Sum(cents), Decimal(0)) / CENTS_PER_USD


def _start_of_month(months_ago: int) -> datetime:
    now = datetime.now(UTC)
    year, month = divmod(now.year * 12 + now.month - 1 - months_ago, 12)
    return datetime(year, month + 1, 1, tzinfo=UTC)
