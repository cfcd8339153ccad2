"""Figures of the dashboard for a span of time."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import httpx
import pytest

from runs import stats as counted
from runs.models import ActiveUser, Backlog, Dimension, HourlyFigures, Status
from runs.tests.test_stats import add_run
from testing.client import Api
from testing.loopback.upstream import Upstream
from web import dashboard_stats
from web.admin.dashboard import make_tiles
from web.dashboard_stats import TimeRange, Totals

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
NOW = datetime.now(UTC)
TIER_OF = "By the user's tier at the last count of the hour"


@pytest.fixture(autouse=True)
def nothing_counted(database: None) -> None:
    for model in (HourlyFigures, Backlog, ActiveUser):
        model._default_manager.all().delete()


def test_it_works(staff: httpx.Client, api: Api, alice: Any, upstream: Upstream) -> None:
    run_id = api.execute(alice).headers["X-Run-Id"]
    add_run(alice, NOW, status=Status.FAILED, error_code="provider_error")
    counted.count_changed_hours()
    page = staff.get("/admin/").text
    for expected in (
        "Success rate",
        "50.0 %",
        "code-review",
        "provider_error",
        alice.email,
        "<rect",
        "Counted at",
        TIER_OF,
    ):
        assert expected in page, expected
    assert run_id not in page
    assert "Runs by day" in staff.get("/admin/?range=7d").text
    assert "Runs by hour" in staff.get("/admin/?range=nonsense").text


def test_the_health_of_each_part(staff: httpx.Client) -> None:
    assert "database" in staff.get("/admin/parts/").text
    fragment = staff.get("/admin/parts/", headers={"HX-Request": "true"}).text
    assert "database" in fragment and "<html" not in fragment


def test_strangers_are_sent_to_the_login(api: Api, alice: Any) -> None:
    for path in ("/admin/", "/admin/parts/"):
        assert api.get(path, headers=api.as_(alice)).status_code == 302


@pytest.mark.parametrize(("key", "back"), [("24h", DAY), ("7d", 7 * DAY), ("30d", 30 * DAY)])
def test_a_span_against_the_one_before(alice: Any, bob: Any, key: str, back: timedelta) -> None:
    add_run(alice, NOW, input_tokens=3, cost_usd=Decimal(2))
    add_run(bob, NOW - HOUR / 4, status=Status.CANCELLED)
    add_run(bob, NOW - back, status=Status.FAILED, cost_usd=Decimal(1))
    add_run(bob, NOW - 3 * back, status=Status.FAILED)
    counted.count_since()
    now, before = dashboard_stats.totals(TimeRange.from_key(key, NOW))
    assert (now.runs, now.success_rate, now.users, now.tokens, now.cost_usd) == (2, 1, 2, 3, Decimal(2))
    assert (before.runs, before.success_rate, before.users, before.cost_usd) == (1, 0, 1, Decimal(1))


def test_users_of_full_hours(alice: Any) -> None:
    """A user of the hour before the span is not active in the span."""
    time_range = TimeRange.from_key("24h", NOW)
    add_run(alice, time_range.start - timedelta(seconds=1))
    counted.count_since()
    assert [each.users for each in dashboard_stats.totals(time_range)] == [0, 1]


@pytest.mark.parametrize(("key", "steps"), [("24h", 24), ("7d", 7), ("30d", 30)])
def test_each_step_has_a_place(alice: Any, key: str, steps: int) -> None:
    add_run(alice, NOW, first_token_ms=120, cost_usd=Decimal(1))
    counted.count_since()
    time_range = TimeRange.from_key(key, NOW)
    assert len(time_range.labels) == steps
    assert dashboard_stats.by_status(time_range)["succeeded"] == [0] * (steps - 1) + [1]
    assert dashboard_stats.cost_by_provider(time_range) == {"deepseek": [0] * (steps - 1) + [1]}
    median = dashboard_stats.first_token_ms(time_range)["median"]
    assert median[:-1] == [None] * (steps - 1) and median[-1] == pytest.approx(120, rel=0.13)


def test_names_with_the_most_runs(alice: Any, bob: Any) -> None:
    for n in range(12):
        add_run(bob if n else alice, NOW, agent=f"agent-{n:02}")
    add_run(bob, NOW, agent="agent-03")
    counted.count_changed_hours()
    time_range = TimeRange.from_key("24h", NOW)
    agents, tiers = (
        dashboard_stats.top_shares(time_range, Dimension.AGENT),
        dashboard_stats.top_shares(time_range, Dimension.TIER),
    )
    assert agents[:2] == [("agent-03", 2, 1.0), ("agent-00", 1, 0.5)] and len(agents) == dashboard_stats.MAX_SHARES
    assert [(name, runs) for name, runs, _ in tiers] == [("pro", 12), ("free", 1)]
    assert sum(share for *_, share in tiers) == pytest.approx(1)


def test_waiting_jobs() -> None:
    counted.record_backlog("chains", 5)
    assert (
        dashboard_stats.waiting(TimeRange.from_key("24h", datetime.now(UTC)))["chains"][-1] == 5
    )  # the hour may be another than NOW's


def test_tiles_mark_welcome_changes() -> None:
    now, before = Totals(runs=110, cost_usd=Decimal(20)), Totals(runs=100, cost_usd=Decimal(10))
    found = {tile.title: tile for tile in make_tiles(now, before)}
    assert found["Runs"].change == pytest.approx(0.1)
    assert found["Success rate"].change is None
    assert [tile.trend for tile in found.values()] == [1, 0, 0, 0, -1]
