"""Refusals lie in the partition of their month, are hidden after 30 days and dropped with the month."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection

from lunaos.infra.postgresql import partitions as monthly
from refusals import partitions, tasks
from refusals.models import RETENTION, Refusal

FAR = datetime(2033, 11, 5, tzinfo=UTC)


@pytest.fixture
def far_partitions(database: None) -> Iterator[list[str]]:
    """Create partitions of months that no other test uses."""
    names = partitions.ensure(FAR)
    yield names
    with connection.cursor() as cursor:
        for name in names:
            cursor.execute(f"DROP TABLE IF EXISTS {name}")


def add(user: Any, minute: datetime) -> Refusal:
    return Refusal.objects.create(user=user, minute=minute, code="pro_required", count=1)


def partition_of(refusal: Refusal) -> str:
    with connection.cursor() as cursor:
        cursor.execute("SELECT tableoid::regclass::text FROM refusals_refusal WHERE id = %s", [refusal.pk])
        return str(cursor.fetchone()[0])


def test_it_works(alice: Any, far_partitions: list[str]) -> None:
    assert far_partitions == [f"refusals_refusal_2033_{month}" for month in (11, 12)] + ["refusals_refusal_2034_01"]
    assert partition_of(add(alice, FAR)) == "refusals_refusal_2033_11"


def test_this_month_has_a_partition(alice: Any) -> None:
    now = datetime.now(UTC)
    tasks.keep_partitions()
    assert partition_of(add(alice, now)) == f"refusals_refusal_{now:%Y_%m}"


def test_a_month_is_dropped_when_its_rows_are_30_days_old(
    alice: Any, far_partitions: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = monthly.sizes
    only_far = lambda tables: [each for each in sizes(tables) if each.name in far_partitions]  # noqa: E731
    monkeypatch.setattr(monthly, "sizes", only_far)
    add(alice, datetime(2033, 11, 30, 23, 59, tzinfo=UTC))
    kept_until = datetime(2033, 12, 1, tzinfo=UTC) + RETENTION
    assert partitions.drop_expired(kept_until - timedelta(minutes=1)) == []
    assert partitions.drop_expired(kept_until) == ["refusals_refusal_2033_11"]
    assert not Refusal.objects.exists()


def test_old_rows_are_hidden(alice: Any) -> None:
    now = datetime.now(UTC)
    add(alice, now - RETENTION - timedelta(minutes=1))
    shown = add(alice, now - RETENTION + timedelta(minutes=1))
    assert list(Refusal.objects.kept()) == [shown]


def test_old_rows_of_the_default_partition_are_deleted(alice: Any) -> None:
    add(alice, datetime(2020, 1, 1, tzinfo=UTC))
    partitions.drop_expired()
    assert not Refusal.objects.exists()
