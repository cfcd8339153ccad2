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
    # The first moments of the month and of the next one (UTC).
    start: datetime
    end: datetime
    runs: int
    input_tokens: int
    output_tokens: int
    # Of all runs, and of those on the server's provider keys, which the platform pays.
    total_usd: Decimal
    billed_usd: Decimal
    # Runs whose cost is not known completely.
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
