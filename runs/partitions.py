"""Monthly partitions of `runs_text` and `runs_step`, by month of expiry.

Expired texts are dropped as whole tables, at once and for all tiers. Rows that expire within the month are hidden from
then on (`runs.texts`).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from django.conf import settings
from django.db import connection, transaction
from django.db.backends.utils import CursorWrapper

PARTITIONED_TABLES = ("runs_text", "runs_step")
MONTHS_AHEAD = 2  # beyond the longest retention, so that a task that fails for weeks does no harm


@dataclass(frozen=True, slots=True)
class Partition:
    """One month of a partitioned table."""

    name: str
    bytes: int  # on disk, with indexes and TOAST
    rows: int | None  # PostgreSQL's latest estimate; None before the first


def next_month(month: date) -> date:
    """Return the first day of the following month."""
    return date(month.year + month.month // 12, month.month % 12 + 1, 1)


def ensure(now: datetime | None = None) -> list[str]:
    """Create the partitions for all rows from now on; return their names."""
    now = now or datetime.now(UTC)
    month, last = (
        _first_of_month(now),
        _first_of_month(now + timedelta(days=max(settings.RETENTION_DAYS.values()) + 31 * MONTHS_AHEAD)),
    )
    names = []
    while month <= last:
        names += [_ensure_partition(parent, month) for parent in PARTITIONED_TABLES]
        month = next_month(month)
    return names


def drop_expired(now: datetime | None = None) -> list[str]:
    """Drop the partitions whose month has passed; return their names."""
    now = now or datetime.now(UTC)
    expired = [partition.name for partition in sizes() if _end_of_month(partition.name) <= now.date()]
    for name in expired:
        with transaction.atomic(), connection.cursor() as cursor:
            _limit_lock_wait(cursor)
            cursor.execute(f"DROP TABLE IF EXISTS {name}")
    with connection.cursor() as cursor:
        for parent in PARTITIONED_TABLES:
            cursor.execute(f"DELETE FROM {parent}_default WHERE expires_at < %s", [now])  # noqa: S608 - ours
    return expired


def _limit_lock_wait(cursor: CursorWrapper) -> None:
    """Fail after 3 s without the table lock."""
    # New runs queue behind the lock, and the task runs again tomorrow.
    cursor.execute("SET LOCAL lock_timeout = '3s'")


def sizes() -> list[Partition]:
    """Return all partitions, the newest first."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT relname, pg_total_relation_size(oid), NULLIF(reltuples, -1)::bigint FROM pg_class "
            "JOIN pg_inherits ON inhrelid = oid WHERE inhparent = ANY(%s::regclass[]) ORDER BY relname DESC",
            [list(PARTITIONED_TABLES)],
        )
        return [Partition(*row) for row in cursor.fetchall()]


def _ensure_partition(parent: str, month: date) -> str:
    """Create a partition, and move its early rows over from the default partition."""
    name, following = f"{parent}_{month:%Y_%m}", next_month(month)
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtext('runs.partitions')), to_regclass(%s)", [name])
        if cursor.fetchone()[1] is None:
            _limit_lock_wait(cursor)
            for statement in _creation_statements(parent, name, f"'{month} 00:00+00'", f"'{following} 00:00+00'"):
                cursor.execute(statement)
    return name


def _creation_statements(parent: str, name: str, start: str, end: str) -> Iterator[str]:
    yield f"CREATE TABLE {name} (LIKE {parent} INCLUDING ALL)"
    yield (
        f"WITH early AS (DELETE FROM {parent}_default WHERE expires_at >= {start} AND expires_at < {end} RETURNING *) "  # noqa: S608 - ours
        f"INSERT INTO {name} SELECT * FROM early"
    )
    yield f"ALTER TABLE {parent} ATTACH PARTITION {name} FOR VALUES FROM ({start}) TO ({end})"


def _first_of_month(moment: datetime) -> date:
    return moment.date().replace(day=1)


def _end_of_month(name: str) -> date:
    """Return the first day after a partition's month."""
    # For a default partition a date that never comes.
    *_, year, month = name.split("_")
    return next_month(date(int(year), int(month), 1)) if month.isdecimal() else date.max
