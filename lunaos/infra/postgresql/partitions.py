"""Monthly partitions of a table; dropping a whole table frees the disk at once."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime

from django.db import connection, transaction
from django.db.backends.utils import CursorWrapper


@dataclass(frozen=True, slots=True)
class Partition:
    name: str
    bytes: int  # on disk, with indexes and TOAST
    rows: int | None  # PostgreSQL's latest estimate; None before the first


@dataclass(frozen=True, slots=True)
class MonthlyTable:
    """A table in partitions by the UTC month of a column, with a default partition."""

    name: str
    column: str


def next_month(month: date) -> date:
    return date(month.year + month.month // 12, month.month % 12 + 1, 1)


def months(first: datetime, last: datetime) -> Iterator[date]:
    """Yield the first day of each month from one moment to another."""
    month = first.date().replace(day=1)
    while month <= last.date():
        yield month
        month = next_month(month)


def end_of_month(name: str) -> date:
    """Return the first day after a partition's month; never for a default partition."""
    *_, year, month = name.split("_")
    return next_month(date(int(year), int(month), 1)) if month.isdecimal() else date.max


def sizes(tables: Sequence[MonthlyTable]) -> list[Partition]:
    """Return all partitions of tables, the newest first."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT relname, pg_total_relation_size(oid), NULLIF(reltuples, -1)::bigint FROM pg_class "
            "JOIN pg_inherits ON inhrelid = oid WHERE inhparent = ANY(%s::regclass[]) ORDER BY relname DESC",
            [[table.name for table in tables]],
        )
        return [Partition(*row) for row in cursor.fetchall()]


def ensure(table: MonthlyTable, month: date) -> str:
    """Create a month's partition with the rows of the default one; return its name."""
    name, following = f"{table.name}_{month:%Y_%m}", next_month(month)
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtext('runs.partitions')), to_regclass(%s)", [name])
        if cursor.fetchone()[1] is None:
            _limit_lock_wait(cursor)
            for statement in _creation_statements(table, name, f"'{month} 00:00+00'", f"'{following} 00:00+00'"):
                cursor.execute(statement)
    return name


def drop(name: str) -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        _limit_lock_wait(cursor)
        cursor.execute(f"DROP TABLE IF EXISTS {name}")


def delete_from_default(table: MonthlyTable, before: datetime) -> None:
    """Delete old rows that lie in the default partition, which is never dropped."""
    with connection.cursor() as cursor:
        cursor.execute(f"DELETE FROM {table.name}_default WHERE {table.column} < %s", [before])  # noqa: S608 - ours


def _limit_lock_wait(cursor: CursorWrapper) -> None:
    # Writers queue behind the table lock, and the task runs again tomorrow.
    cursor.execute("SET LOCAL lock_timeout = '3s'")


def _creation_statements(table: MonthlyTable, name: str, start: str, end: str) -> Iterator[str]:
    parent, column = table.name, table.column
    yield f"CREATE TABLE {name} (LIKE {parent} INCLUDING ALL)"
    yield (
        f"WITH early AS (DELETE FROM {parent}_default WHERE {column} >= {start} AND {column} < {end} RETURNING *) "  # noqa: S608 - ours
        f"INSERT INTO {name} SELECT * FROM early"
    )
    yield f"ALTER TABLE {parent} ATTACH PARTITION {name} FOR VALUES FROM ({start}) TO ({end})"
