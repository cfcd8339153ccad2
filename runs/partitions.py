"""Monthly partitions of `runs_text` and `runs_step`, by month of expiry."""

from datetime import UTC, datetime, timedelta

from django.conf import settings

from lunaos.infra.postgresql import partitions
from lunaos.infra.postgresql.partitions import MonthlyTable, Partition

# Expired texts are dropped as whole tables, at once and for all tiers. Until then queries leave out rows that have
# expired within the month.
PARTITIONED_TABLES = (MonthlyTable("runs_text", "expires_at"), MonthlyTable("runs_step", "expires_at"))
MONTHS_AHEAD = 2  # beyond the longest retention, so that a task that fails for weeks does no harm


def ensure(now: datetime | None = None) -> list[str]:
    """Create the partitions for all rows from now on; return their names."""
    now = now or datetime.now(UTC)
    last = now + timedelta(days=max(settings.RETENTION_DAYS.values()) + 31 * MONTHS_AHEAD)
    return [partitions.ensure(table, month) for month in partitions.months(now, last) for table in PARTITIONED_TABLES]


def drop_expired(now: datetime | None = None) -> list[str]:
    """Drop the partitions whose month has passed; return their names."""
    now = now or datetime.now(UTC)
    expired = [partition.name for partition in sizes() if partitions.end_of_month(partition.name) <= now.date()]
    for name in expired:
        partitions.drop(name)
    for table in PARTITIONED_TABLES:
        partitions.delete_from_default(table, now)
    return expired


def sizes() -> list[Partition]:
    return partitions.sizes(PARTITIONED_TABLES)
