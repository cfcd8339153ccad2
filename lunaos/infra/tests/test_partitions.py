"""Months of partitioned tables; `runs.tests.test_partitions` has the tables."""

from datetime import UTC, date, datetime

from lunaos.infra.postgresql import partitions


def test_it_works() -> None:
    first, last = datetime(2026, 11, 30, 23, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)
    assert list(partitions.months(first, last)) == [date(2026, 11, 1), date(2026, 12, 1), date(2027, 1, 1)]


def test_the_month_after() -> None:
    assert partitions.next_month(date(2026, 12, 1)) == date(2027, 1, 1)
    assert partitions.next_month(date(2026, 1, 1)) == date(2026, 2, 1)


def test_a_default_partition_does_not_end() -> None:
    assert partitions.end_of_month("runs_text_2026_12") == date(2027, 1, 1)
    assert partitions.end_of_month("runs_text_default") == date.max
