"""Queries of the dashboard over figures that `runs.stats` has counted."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from django.db import connection
from django.db.models import F, Max, QuerySet, Sum
from django.db.models.functions import Trunc

from runs.models import Backlog, Dimension, HourlyFigures, Run, Status
from runs.stats import DAY, HOUR, bucket_ms, start_of_hour

STATUSES = ("succeeded", "failed", "interrupted", "cancelled", "unfinished")
ALL_RUNS = F("succeeded") + F("failed") + F("interrupted") + F("cancelled") + F("unfinished")
QUEUES = ("chains", "indexing")
MAX_SHARES, MAX_FAILURES = 8, 5
DAYS_BEFORE_TODAY = {"7d": 6, "30d": 29}  # days before it
RANGE_NAMES = {"24h": "24 hours", "7d": "7 days", "30d": "30 days"}
# A user was active within a range of hours: of the first and the last day only some hours count.
ACTIVE_WITHIN = """
    day BETWEEN %(first_{0})s AND %(last_{0})s AND hours & (
        (1 << CASE WHEN day = %(last_{0})s THEN %(last_hour_{0})s ELSE 24 END)
        - (1 << CASE WHEN day = %(first_{0})s THEN %(first_hour_{0})s ELSE 0 END)
    ) <> 0
"""
ACTIVE_USERS = f"""
    SELECT count(*) FILTER (WHERE now), count(*) FILTER (WHERE before) FROM (
        SELECT bool_or({ACTIVE_WITHIN.format("now")}) AS now, bool_or({ACTIVE_WITHIN.format("before")}) AS before
        FROM runs_activeuser WHERE day BETWEEN %(first_before)s AND %(last_now)s GROUP BY user_id
    ) AS active
"""  # noqa: S608 - constants


@dataclass(frozen=True, slots=True)
class TimeRange:
    """A time range up to the end of this hour, and the equally long range before it."""

    # `24h`, `7d` or `30d`.
    key: str
    start: datetime
    end: datetime
    # Distance to the range before.
    shift: timedelta
    # Of the charts, an hour or a day.
    step: timedelta

    @classmethod
    def from_key(cls, key: str, now: datetime) -> "TimeRange":
        """Return a range of full hours, or of today and the full days before (UTC)."""
        end = start_of_hour(now) + HOUR
        if key not in DAYS_BEFORE_TODAY:
            return cls("24h", end - DAY, end, DAY, HOUR)
        start = start_of_hour(now).replace(hour=0) - DAYS_BEFORE_TODAY[key] * DAY
        return cls(key, start, end, (DAYS_BEFORE_TODAY[key] + 1) * DAY, DAY)

    @property
    def unit(self) -> str:
        return "hour" if self.step == HOUR else "day"

    @property
    def step_starts(self) -> list[datetime]:
        return [self.start + n * self.step for n in range(-((self.start - self.end) // self.step))]

    @property
    def labels(self) -> list[str]:
        form = "%H:%M" if self.step == HOUR else "%b %-d"
        return [f"{moment:{form}}" for moment in self.step_starts]

    def figures_by(self, by: Dimension) -> QuerySet[HourlyFigures]:
        return HourlyFigures.objects.filter(by=by, hour__gte=self.start, hour__lt=self.end)

    def align(self, values: dict[datetime, Any], empty: Any) -> list[Any]:
        """Return one value per step, or `empty` for a step without one."""
        return [values.get(moment, empty) for moment in self.step_starts]


@dataclass(frozen=True, slots=True)
class Totals:
    runs: int = 0
    succeeded: int = 0
    ended: int = 0
    tokens: int = 0
    cost_usd: Decimal = Decimal(0)
    users: int = 0

    @property
    def success_rate(self) -> float | None:
        # Cancelled runs are neither success nor failure.
        return self.succeeded / self.ended if self.ended else None


def totals(time_range: TimeRange) -> tuple[Totals, Totals]:
    """Return the totals of a range and of the range before it."""
    users, users_before = _count_active_users(time_range)
    return _totals(time_range.start, time_range.end, users), _totals(
        time_range.start - time_range.shift, time_range.end - time_range.shift, users_before
    )


def by_status(time_range: TimeRange) -> dict[str, list[float | None]]:
    sums = {status: Sum(status) for status in STATUSES}
    rows = {row["step"]: row for row in _figures_by_step(time_range, Dimension.ALL).values("step").annotate(**sums)}
    return {
        status: [(rows.get(moment) or {}).get(status, 0) for moment in time_range.step_starts] for status in STATUSES
    }


def cost_by_provider(time_range: TimeRange) -> dict[str, list[float | None]]:
    rows = (
        _figures_by_step(time_range, Dimension.PROVIDER)
        .values("step", "name")
        .annotate(cost=Sum("cost_usd"))
        .order_by("name")
    )
    costs: dict[str, dict[datetime, float]] = defaultdict(dict)
    for row in rows:
        costs[row["name"]][row["step"]] = float(row["cost"])
    return {name: time_range.align(values, 0) for name, values in costs.items()}


def first_token_ms(time_range: TimeRange) -> dict[str, list[float | None]]:
    """Return median and 95th percentile per step, to a bucket's width (12 %)."""
    rows = _figures_by_step(time_range, Dimension.FIRST_TOKEN).values_list("step", "name").annotate(runs=Sum(ALL_RUNS))
    buckets: dict[datetime, dict[int, int]] = defaultdict(dict)
    for step, name, runs in rows:
        buckets[step][int(name)] = runs
    return {
        title: time_range.align({step: percentile(counts, share) for step, counts in buckets.items()}, None)
        for title, share in (("median", 0.5), ("95th percentile", 0.95))
    }


def percentile(counts: dict[int, int], share: float) -> float | None:
    """Return the time to first token that a share of the runs did not exceed."""
    rank, seen = share * sum(counts.values()), 0
    for bucket in sorted(counts):
        seen += counts[bucket]
        if seen >= rank and seen:
            return bucket_ms(bucket)
    return None


def waiting(time_range: TimeRange) -> dict[str, list[float | None]]:
    rows = Backlog.objects.filter(hour__gte=time_range.start, hour__lt=time_range.end).annotate(
        step=_step_start(time_range)
    )
    most: dict[str, dict[datetime, int]] = {queue: {} for queue in QUEUES}
    for queue, step, peak in rows.values_list("queue", "step").annotate(peak=Max("waiting")):
        most[queue][step] = peak
    return {queue: time_range.align(peaks, 0) for queue, peaks in most.items()}


def top_shares(time_range: TimeRange, by: Dimension) -> list[tuple[str, int, float]]:
    """Return name, runs and share of those with the most runs."""
    found = list(
        time_range.figures_by(by)
        .values_list("name")
        .annotate(runs=Sum(ALL_RUNS))
        .order_by("-runs", "name")[:MAX_SHARES]
    )
    # Agents are compared with each other; tiers are parts of a whole.
    whole = max((runs for _, runs in found), default=0) if by == Dimension.AGENT else sum(runs for _, runs in found)
    return [(name, runs, runs / whole) for name, runs in found if runs]


def newest_failures() -> QuerySet[Run]:
    failed = Run.objects.filter(status__in=(Status.FAILED, Status.INTERRUPTED))
    return failed.select_related("user").order_by("-created_at")[:MAX_FAILURES]


def _step_start(time_range: TimeRange) -> Trunc:
    return Trunc("hour", time_range.unit, tzinfo=UTC)


def _figures_by_step(time_range: TimeRange, by: Dimension) -> QuerySet[Any, Any]:
    return time_range.figures_by(by).annotate(step=_step_start(time_range)).order_by("step")


def _totals(start: datetime, end: datetime, users: int) -> Totals:
    rows = HourlyFigures.objects.filter(by=Dimension.ALL, hour__gte=start, hour__lt=end)
    sums = rows.aggregate(*(Sum(name, default=0) for name in (*STATUSES, "tokens", "cost_usd")))
    sums = {name.removesuffix("__sum"): value for name, value in sums.items()}
    return Totals(
        runs=_sum_of(sums, STATUSES),
        succeeded=sums["succeeded"],
        ended=_sum_of(sums, ("succeeded", "failed", "interrupted")),
        tokens=int(sums["tokens"]),
        cost_usd=Decimal(sums["cost_usd"]),
        users=users,
    )


def _sum_of(sums: dict[str, Any], names: Iterable[str]) -> int:
    return sum(sums[name] for name in names)


def _count_active_users(time_range: TimeRange) -> tuple[int, int]:
    before = (time_range.start - time_range.shift, time_range.end - time_range.shift)
    with connection.cursor() as cursor:
        cursor.execute(
            ACTIVE_USERS,
            _range_parameters("now", time_range.start, time_range.end) | _range_parameters("before", *before),
        )
        return cursor.fetchone()


def _range_parameters(name: str, start: datetime, end: datetime) -> dict[str, Any]:
    return {
        f"first_{name}": start.date(),
        f"first_hour_{name}": start.hour,
        f"last_{name}": end.date(),
        f"last_hour_{name}": end.hour,
    }
