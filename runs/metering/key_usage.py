"""What the runs of an API key have used in a calendar month."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from uuid import UUID

from django.db.models import Count, DecimalField, Q, Sum, Value
from django.db.models.functions import Coalesce

from runs.models import Run

ZERO_USD = Value(Decimal(0), output_field=DecimalField(max_digits=14, decimal_places=6))


@dataclass(frozen=True, slots=True)
class KeyUsage:
    """Runs of one key that were started in a month, with their tokens and cost.

    Args:
        start: first moment of the month (UTC).
        end: first moment of the next month.
        total_usd: cost of all runs.
        billed_usd: cost of those on the server's provider keys, which the platform pays.
        unpriced: runs whose cost is not known completely.
    """

    start: datetime
    end: datetime
    runs: int
    input_tokens: int
    output_tokens: int
    total_usd: Decimal
    billed_usd: Decimal
    unpriced: int

    @property
    def cost_known(self) -> bool:
        return not self.unpriced


def of_month(key_id: UUID, now: datetime) -> KeyUsage:
    """Return a key's usage since the month began (UTC), in one query."""
    start = now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    return KeyUsage(
        start=start,
        end=(start + timedelta(days=32)).replace(day=1),
        **Run.objects.filter(api_key_id=key_id, created_at__gte=start)
        .order_by()
        .aggregate(
            runs=Count("pk"),
            input_tokens=Coalesce(Sum("input_tokens"), 0),
            output_tokens=Coalesce(Sum("output_tokens"), 0),
            total_usd=Coalesce(Sum("cost_usd"), ZERO_USD),
            billed_usd=Coalesce(Sum("cost_usd", filter=Q(own_key=False)), ZERO_USD),
            unpriced=Count("pk", filter=Q(cost_known=False)),
        ),
    )
