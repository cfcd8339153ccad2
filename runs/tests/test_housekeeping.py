"""Abandoned runs, and partitions."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

from django.db import connection

from billing.models import MonthlyUsage
from runs import partitions, services, tasks
from runs.models import Run, RunText


def begin(user: Any) -> Run:
    return services.begin(user=user, agent="run", provider="deepseek", model="m", text="in", request_id="r")[0]


def test_runs_that_nobody_executes_are_ended_and_given_back(alice: Any) -> None:
    dead, alive = begin(alice), begin(alice)
    Run.objects.filter(pk=dead.pk).update(created_at=datetime.now(UTC) - timedelta(seconds=700))
    tasks.end_abandoned_runs()

    dead.refresh_from_db()
    alive.refresh_from_db()
    assert (dead.status, dead.error_code, dead.charge) == ("interrupted", "interrupted", "released")
    assert alive.status == "running"
    assert MonthlyUsage.objects.get(user=alice).executions == 1


def test_the_month_after() -> None:
    assert partitions.month_after(date(2026, 12, 1)) == date(2027, 1, 1)
    assert partitions.month_after(date(2026, 1, 1)) == date(2026, 2, 1)


def test_preparing_partitions_twice_changes_nothing(database: None) -> None:
    tasks.prepare_partitions()
    assert partitions.ensure() == partitions.ensure()
    names = partitions.ensure(datetime(2031, 11, 5, tzinfo=UTC))
    assert names == ["runs_text_2031_11", "runs_text_2031_12", "runs_text_2032_01", "runs_text_2032_02"]


def test_a_text_lies_in_the_partition_of_its_month(alice: Any) -> None:
    run = begin(alice)
    with connection.cursor() as cursor:
        cursor.execute("SELECT tableoid::regclass::text FROM runs_text WHERE run_id = %s", [run.pk])
        assert cursor.fetchone() == (f"runs_text_{run.created_at:%Y_%m}",)
    assert RunText.objects.get(run_id=run.pk).input == "in"
