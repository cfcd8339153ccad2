"""Monthly partitions of refusals."""

# A month is dropped when its last row is 30 days old.

from datetime import UTC, datetime, timedelta

from lunaos.infra.postgresql import partitions
from lunaos.infra.postgresql.partitions import MonthlyTable
from refusals.models import RETENTION

TABLE = MonthlyTable("refusals_refusal", "minute")
AHEAD = timedelta(days=62)  # so that a task that fails for weeks does no harm


def ensure(now: datetime | None = None) -> list[str]:
    """Create the partitions for all rows from now on; return their names."""
    now = now or datetime.now(UTC)
    return [partitions.ensure(TABLE, month) for month in partitions.months(now, now + AHEAD)]


def drop_expired(now: datetime | None = None) -> list[str]:
    """Drop the partitions whose rows are all older than 30 days; return their names."""
    oldest = (now or datetime.now(UTC)) - RETENTION
    names = [each.name for each in partitions.sizes([TABLE])]
    expired = [name for name in names if partitions.end_of_month(name) <= oldest.date()]
    for name in expired:
        partitions.drop(name)
    partitions.delete_from_default(TABLE, oldest)
    return expired
