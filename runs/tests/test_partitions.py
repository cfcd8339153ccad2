"""Texts lie in the partition of their expiry's month, and are dropped with it."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import OperationalError, connection
from psycopg import connect

from runs import partitions, services, tasks, texts
from runs.models import Run, RunText

FAR = datetime(2031, 11, 5, tzinfo=UTC)


@pytest.fixture
def far_partitions(database: None) -> Any:
    """Create partitions of months that no other test uses."""
    names = partitions.ensure(FAR)
    yield names
    with connection.cursor() as cursor:
        for name in names:
            cursor.execute(f"DROP TABLE IF EXISTS {name}")


@pytest.fixture
def only_far_ones(far_partitions: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide the partitions that other tests need."""
    sizes = partitions.sizes
    monkeypatch.setattr(partitions, "sizes", lambda: [found for found in sizes() if found.name in far_partitions])


def create_run(user: Any) -> Run:
    return services.create(user=user, agent="run", provider="deepseek", model="m", text="in", request_id="r").run


def find_partition(run: Run) -> str:
    with connection.cursor() as cursor:
        cursor.execute("SELECT tableoid::regclass::text FROM runs_text WHERE run_id = %s", [run.pk])
        return str(cursor.fetchone()[0])


def change_expiry(run: Run, expires_at: datetime) -> None:
    """Change the time at which a run expires."""
    RunText.objects.filter(run_id=run.pk).delete()
    Run.objects.filter(pk=run.pk).update(expires_at=expires_at)
    RunText.objects.create(run_id=run.pk, expires_at=expires_at, input="in")
    run.refresh_from_db()


def test_every_writable_row_has_a_partition(far_partitions: list[str]) -> None:
    months = ("2031_11", "2031_12", "2032_01", "2032_02", "2032_03", "2032_04")  # 90 days, and two months to spare
    assert far_partitions == [f"{parent}_{month}" for month in months for parent in ("runs_text", "runs_step")]


def test_a_second_call_changes_nothing(database: None) -> None:
    tasks.keep_partitions()
    assert partitions.ensure() == partitions.ensure()


def test_a_text_lies_where_it_expires(alice: Any, bob: Any) -> None:
    run = create_run(alice)
    assert run.expires_at - run.created_at == timedelta(days=90)
    assert find_partition(run) == f"runs_text_{run.expires_at:%Y_%m}"


def test_each_tier_has_its_retention(alice: Any, bob: Any, settings: Any) -> None:
    settings.RETENTION_DAYS = {"free": 1, "pro": 30, "team": 90}
    assert (create_run(alice).expires_at - create_run(bob).expires_at).days == -29 - 1


def test_a_text_in_the_default_partition_moves_over(alice: Any) -> None:
    run = create_run(alice)
    change_expiry(run, FAR)
    assert find_partition(run) == "runs_text_default"
    names = partitions.ensure(FAR)
    try:
        assert find_partition(run) == "runs_text_2031_11"
        assert texts.load_text(run) is not None
    finally:
        with connection.cursor() as cursor:
            for name in names:
                cursor.execute(f"DROP TABLE {name}")


def test_a_drop_frees_the_disk_and_keeps_the_runs(alice: Any, only_far_ones: None) -> None:
    run = create_run(alice)
    change_expiry(run, FAR)
    assert partitions.drop_expired(datetime(2031, 11, 30, 23, tzinfo=UTC)) == []
    dropped = partitions.drop_expired(datetime(2031, 12, 1, tzinfo=UTC))

    assert sorted(dropped) == ["runs_step_2031_11", "runs_text_2031_11"]
    assert Run.objects.filter(pk=run.pk).exists() and texts.load_text(run) is None


def test_sizes(database: None, far_partitions: list[str]) -> None:
    found = {partition.name: partition for partition in partitions.sizes()}
    assert {*far_partitions, "runs_text_default", "runs_step_default"} <= set(found)
    assert all(partition.bytes > 0 and (partition.rows or 0) >= 0 for partition in found.values())
    assert {found[name].rows for name in far_partitions} == {None}  # never analysed


def test_an_expired_text_is_hidden_before_it_is_dropped(alice: Any) -> None:
    run = create_run(alice)
    change_expiry(run, datetime.now(UTC) - timedelta(seconds=1))
    assert RunText.objects.filter(run_id=run.pk).exists()
    assert texts.load_text(run) is None


def test_a_locked_table_is_left_for_the_next_night(alice: Any, only_far_ones: None) -> None:
    parameters = connection.get_connection_params()
    reach = {key: parameters[key] for key in ("dbname", "user", "host") if key in parameters}
    with connect(**reach) as reader:
        reader.execute("SELECT count(*) FROM runs_text")
        with pytest.raises(OperationalError):
            partitions.drop_expired(datetime(2032, 1, 1, tzinfo=UTC))
