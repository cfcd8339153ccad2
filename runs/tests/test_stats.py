"""Hourly figures of runs."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection

from runs import stats
from runs.models import ActiveUser, Backlog, Dimension, HourlyFigures, Run, Status
from runs.tasks import count_runs
from web.tasks import note_backlogs

HOUR = timedelta(hours=1)


def now() -> datetime:
    """Return a minute of this hour, which may change while tests run."""
    return stats.start_of_hour(datetime.now(UTC)) + timedelta(minutes=1)


@pytest.fixture(autouse=True)
def nothing_counted(database: None) -> None:
    HourlyFigures.objects.all().delete()
    Backlog.objects.all().delete()


def add_run(user: Any, at: datetime | None = None, **fields: Any) -> Run:
    usual = {"agent": "seo", "provider": "deepseek", "model": "deepseek-chat", "status": Status.SUCCEEDED}
    at = at or now()
    times = {"created_at": at, "heartbeat_at": at, "expires_at": at + timedelta(days=90)}
    return Run.objects.create(user=user, charged_month=at.date().replace(day=1), **usual | times | fields)


def read_row(by: Dimension = Dimension.ALL, name: str = "", at: datetime | None = None) -> HourlyFigures:
    return HourlyFigures.objects.get(hour=stats.start_of_hour(at or now()), by=by, name=name)


def all_figures() -> list[tuple[Any, ...]]:
    return sorted(HourlyFigures.objects.values_list())


def test_it_works(alice: Any, bob: Any) -> None:
    add_run(alice, input_tokens=10, output_tokens=5, cost_usd=Decimal("0.25"), first_token_ms=100)
    add_run(alice, status=Status.FAILED, provider="openai", chain="custom", agent="")
    add_run(bob, input_tokens=1, cost_usd=Decimal("4"), own_key=True, first_token_ms=5000)
    assert stats.count_changed_hours() == 4  # hours: this one and three before

    total = read_row()
    assert (total.succeeded, total.failed, total.tokens, total.cost_usd) == (2, 1, 16, Decimal("0.25"))
    assert read_row(Dimension.PROVIDER, "openai").failed == 1
    assert read_row(Dimension.AGENT, "custom").failed == 1
    assert (read_row(Dimension.TIER, "free").succeeded, read_row(Dimension.TIER, "pro").succeeded) == (1, 1)
    buckets = HourlyFigures.objects.filter(by=Dimension.FIRST_TOKEN).values_list("name", flat=True)
    assert [stats.bucket_ms(int(name)) for name in sorted(buckets, key=int)] == pytest.approx([100, 5000], rel=0.13)
    assert set(ActiveUser.objects.values_list("user", "hours")) == {(user.pk, 1 << now().hour) for user in (alice, bob)}


def test_counting_again_changes_nothing(alice: Any) -> None:
    add_run(alice), add_run(alice, now() - HOUR)
    stats.count_changed_hours()
    before = all_figures()
    count_runs()
    assert all_figures() == before


def test_a_run_that_ends_late_is_recounted(alice: Any) -> None:
    long_ago = now() - 30 * HOUR
    run = add_run(alice, long_ago, status=Status.RUNNING)
    stats.count_since(long_ago)
    assert read_row(at=long_ago).unfinished == 1
    Run.objects.filter(pk=run.pk).update(status=Status.SUCCEEDED)
    stats.count_changed_hours()
    assert (read_row(at=long_ago).unfinished, read_row(at=long_ago).succeeded) == (0, 1)


def test_missed_hours_are_counted(alice: Any) -> None:
    """The last count is two days old."""
    add_run(alice, now() - 48 * HOUR)
    stats.count_hours(stats.start_of_hour(now() - 48 * HOUR), stats.start_of_hour(now() - 47 * HOUR))
    add_run(alice, now() - 20 * HOUR)
    assert stats.count_changed_hours() == 49
    assert read_row(at=now() - 20 * HOUR).succeeded == 1


def test_runs_before_the_first_count(alice: Any, capsys: pytest.CaptureFixture[str]) -> None:
    add_run(alice, now() - 100 * HOUR)
    call_command("count_runs")
    assert "101 hours" in capsys.readouterr().out
    assert read_row(at=now() - 100 * HOUR).succeeded == 1
    call_command("count_runs", since=now() - HOUR)
    assert "2 hours" in capsys.readouterr().out


def test_without_runs() -> None:
    assert stats.count_since() == 0
    assert stats.count_changed_hours() == 4
    assert not HourlyFigures.objects.exists()


def test_a_deleted_accounts_days_are_deleted(alice: Any) -> None:
    add_run(alice)
    stats.count_changed_hours()
    alice.delete()
    assert not ActiveUser.objects.exists()
    stats.count_changed_hours()
    assert not HourlyFigures.objects.exists()


def test_only_one_process_counts_at_a_time(alice: Any) -> None:
    add_run(alice)
    other = connection.copy()
    try:
        other.cursor().execute("SELECT pg_advisory_lock(%s)", [stats.ADVISORY_LOCK])
        assert stats.count_changed_hours() == 0
        # The server releases the lock of a closed connection only some time later.
        other.cursor().execute("SELECT pg_advisory_unlock(%s)", [stats.ADVISORY_LOCK])
    finally:
        other.close()
    assert stats.count_changed_hours() == 4


def test_the_highest_backlog_is_kept() -> None:
    for waiting in (3, 7, 2):
        stats.record_backlog("chains", waiting)
    assert Backlog.objects.get().waiting == 7


def test_the_task_records_backlogs(alice: Any) -> None:
    add_run(alice, status=Status.QUEUED, chain="custom")
    note_backlogs()
    assert dict(Backlog.objects.values_list("queue", "waiting")) == {"chains": 1, "indexing": 0}


def test_spans_are_at_most_a_day() -> None:
    hours = [now() + n * HOUR for n in (0, 1, 5, *range(10, 40))]
    found = [(end - start) // HOUR for start, end in stats._group_hours(hours)]
    assert found == [2, 1, 24, 6]
