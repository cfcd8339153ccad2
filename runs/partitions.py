"""Monthly partitions of `runs_text`: made ahead of time, so that old texts can be dropped as files, at once."""

from datetime import UTC, date, datetime

from django.db import connection

AHEAD = 3


def month_after(month: date) -> date:
    """The first day of the month that follows."""
    return date(month.year + month.month // 12, month.month % 12 + 1, 1)


def ensure(now: datetime | None = None) -> list[str]:
    """Make the partitions of this month and the next ones where they are missing.

    Returns:
        The names of all of them, `runs_text_2026_11`.
    """
    month, names = (now or datetime.now(UTC)).date().replace(day=1), []
    with connection.cursor() as cursor:
        for _ in range(AHEAD + 1):
            following, name = month_after(month), f"runs_text_{month:%Y_%m}"
            cursor.execute(
                f"CREATE TABLE IF NOT EXISTS {name} PARTITION OF runs_text "
                f"FOR VALUES FROM ('{month} 00:00+00') TO ('{following} 00:00+00')"
            )
            names.append(name)
            month = following
    return names
