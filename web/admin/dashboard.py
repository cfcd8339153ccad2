"""The admin's first page: how the platform fares, and the charts that show it."""

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
from web.dashboard_stats import Span, Totals

PERMISSION = "runs.view_hourlyfigures"
DEFAULT = "24h"
UP_IS_BETTER, UP_IS_WORSE, NEITHER = 1, -1, 0


@dataclass(frozen=True, slots=True)
class Tile:
    """One figure of the span, and how it has changed against the span before.

    Args:
        unit: as the template's formats know it.
        change: as a share of what it was before; of shares, the difference; None where there is nothing to compare.
        verdict: 1 where the change is welcome, -1 where it is not, 0 where it is neither.
    """

    title: str
    value: float | None
    before: float | None
    unit: str
    change: float | None
    verdict: int


def context(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """For unfold's front page; whoever may not see figures sees the list of pages alone."""
    if not request.user.has_perm(PERMISSION):
        return context
    now = datetime.now(UTC)
    span = Span.of(request.GET.get("range", DEFAULT), now)
    return {
        **context,
        "span": span,
        "ranges": dashboard_stats.NAMES,
        "counted_at": counted.last_counted_at(),
        "tiles": tiles(*dashboard_stats.totals(span)),
        "charts": drawn(span),
        "agents": dashboard_stats.shares(span, Dimension.AGENT),
        "tiers": dashboard_stats.shares(span, Dimension.TIER),
        "failed_today": failed_on(now),
        "failures": dashboard_stats.newest_failures() if request.user.has_perm("runs.view_run") else None,
    }


def failed_on(day: datetime) -> str:
    """The list of a day's failed runs."""
    date = {f"created_at__{part}": getattr(day, part) for part in ("year", "month", "day")}
    return reverse("admin:runs_run_changelist", query={"status__exact": str(Status.FAILED), **date})


def tiles(now: Totals, before: Totals) -> list[Tile]:
    """The row of figures at the top."""
    return [
        _tile("Runs", "count", UP_IS_BETTER, now.runs, before.runs),
        _tile("Success rate", "share", UP_IS_BETTER, now.success, before.success),
        _tile("Active users", "count", UP_IS_BETTER, now.users, before.users),
        _tile("Tokens", "count", NEITHER, now.tokens, before.tokens),
        _tile("Cost", "usd", UP_IS_WORSE, float(now.cost_usd), float(before.cost_usd)),
    ]


def drawn(span: Span) -> list[Chart]:
    """The charts, in the order of the page."""
    each: tuple[tuple[Callable[..., Chart], str, str, dict[str, list[float | None]]], ...] = (
        (charts.bars, f"Runs by {span.unit}", "count", dashboard_stats.by_status(span)),
        (charts.lines, "Time to first token", "ms", dashboard_stats.first_token_ms(span)),
        (charts.bars, f"Cost by provider and {span.unit}", "usd", dashboard_stats.cost_by_provider(span)),
        (charts.bars, "Waiting for a worker, at most", "count", dashboard_stats.waiting(span)),
    )
    return [draw(title, span.labels, series, unit=unit) for draw, title, unit, series in each]


def parts(request: HttpRequest) -> HttpResponse:
    """How each part of the platform is, fetched after the page since a part that is down takes its time."""
    report, _ = health.check()
    context = {"parts": report["services"], "title": "Parts", **admin.site.each_context(request)}
    name = "parts" if "HX-Request" in request.headers else "parts_page"
    return TemplateResponse(request, f"admin/dashboard/{name}.html", context)


def _tile(title: str, unit: str, better: int, value: float | None, before: float | None) -> Tile:
    change = None
    if value is not None and before is not None:
        change = value - before if unit == "share" else (value / before - 1 if before else None)
    verdict = better * ((change > 0) - (change < 0)) if change and round(change, 3) else 0
    return Tile(title, value, before, unit, change, verdict)
