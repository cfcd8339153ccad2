"""Dashboard of the admin: figures and charts of a time range, and health."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse

from runs import stats as counted
from runs.models import Dimension, Status
from web import charts, dashboard_stats, health
from web.charts import Chart
from web.dashboard_stats import TimeRange, Totals

DASHBOARD_PERMISSION = "runs.view_hourlyfigures"
DEFAULT_RANGE = "24h"
UP_IS_BETTER, UP_IS_WORSE, NEUTRAL = 1, -1, 0


@dataclass(frozen=True, slots=True)
class Tile:
    """A figure of the time range with its change against the range before."""

    title: str
    value: float | None
    before: float | None
    # As in `format_figure`.
    unit: str
    # Relative to the value before; for shares, the difference.
    change: float | None
    # 1 for a welcome change, -1 for an unwelcome one, 0 for neither.
    trend: int


def add_dashboard_context(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """Add the dashboard's data to the context of unfold's front page."""
    if not request.user.has_perm(DASHBOARD_PERMISSION):
        # Staff without permission for figures see the list of pages alone.
        return context
    now = datetime.now(UTC)
    time_range = TimeRange.from_key(request.GET.get("range", DEFAULT_RANGE), now)
    return {
        **context,
        "time_range": time_range,
        "ranges": dashboard_stats.RANGE_NAMES,
        "counted_at": counted.last_counted_at(),
        "tiles": make_tiles(*dashboard_stats.totals(time_range)),
        "charts": make_charts(time_range),
        "agents": dashboard_stats.top_shares(time_range, Dimension.AGENT),
        "tiers": dashboard_stats.top_shares(time_range, Dimension.TIER),
        "failed_today": failed_runs_url(now),
        "failures": dashboard_stats.newest_failures() if request.user.has_perm("runs.view_run") else None,
    }


def failed_runs_url(day: datetime) -> str:
    date = {f"created_at__{part}": getattr(day, part) for part in ("year", "month", "day")}
    return reverse("admin:runs_run_changelist", query={"status__exact": str(Status.FAILED), **date})


def make_tiles(now: Totals, before: Totals) -> list[Tile]:
    return [
        _make_tile("Runs", "count", UP_IS_BETTER, now.runs, before.runs),
        _make_tile("Success rate", "share", UP_IS_BETTER, now.success_rate, before.success_rate),
        _make_tile("Active users", "count", UP_IS_BETTER, now.users, before.users),
        _make_tile("Tokens", "count", NEUTRAL, now.tokens, before.tokens),
        _make_tile("Cost", "usd", UP_IS_WORSE, float(now.cost_usd), float(before.cost_usd)),
    ]


def make_charts(time_range: TimeRange) -> list[Chart]:
    each: tuple[tuple[Callable[..., Chart], str, str, dict[str, list[float | None]]], ...] = (
        (charts.bars, f"Runs by {time_range.unit}", "count", dashboard_stats.by_status(time_range)),
        (charts.lines, "Time to first token", "ms", dashboard_stats.first_token_ms(time_range)),
        (charts.bars, f"Cost by provider and {time_range.unit}", "usd", dashboard_stats.cost_by_provider(time_range)),
        (charts.bars, "Waiting for a worker, at most", "count", dashboard_stats.waiting(time_range)),
    )
    return [draw(title, time_range.labels, series, unit=unit) for draw, title, unit, series in each]


def health_view(request: HttpRequest) -> HttpResponse:
    """Show the health of each part, for a separate request of the dashboard."""
    # Checks take up to a second, which the dashboard does not wait for.
    report, _ = health.check()
    context = {"parts": report["services"], "title": "Parts", **admin.site.each_context(request)}
    name = "health" if "HX-Request" in request.headers else "health_page"
    return TemplateResponse(request, f"admin/dashboard/{name}.html", context)


def _make_tile(title: str, unit: str, good_direction: int, value: float | None, before: float | None) -> Tile:
    change = None
    if value is not None and before is not None:
        change = value - before if unit == "share" else (value / before - 1 if before else None)
    trend = good_direction * ((change > 0) - (change < 0)) if change and round(change, 3) else 0
    return Tile(title, value, before, unit, change, trend)
