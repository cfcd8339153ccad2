"""Hourly figures of runs, so that the dashboard does not count runs itself."""

from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta

from django.db import connection, transaction
from django.db.models import Max, Min

from lunaos.infra import redis
from runs.models import Dimension, HourlyFigures, Run

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
RECOUNT_WINDOW = 3 * HOUR  # for runs that have just ended, and clocks that differ
BUCKETS_PER_DECADE = 20  # of times to the first token; each bucket ends 12 % above the previous one
COUNTED_AT_KEY = "lunaos:runs-counted-at"
ADVISORY_LOCK = 7_305_022_026  # any number that no other lock uses

# One pass over the runs for all dimensions; `bucket` is NULL for runs without text.
COUNT = f"""
    INSERT INTO runs_hourlyfigures
        (hour, by, name, succeeded, failed, cancelled, interrupted, unfinished, tokens, cost_usd)
    SELECT hour,
        CASE
            WHEN GROUPING(provider) = 0 THEN 'provider' WHEN GROUPING(what) = 0 THEN 'agent'
            WHEN GROUPING(tier) = 0 THEN 'tier' WHEN GROUPING(bucket) = 0 THEN 'first_token' ELSE 'all'
        END,
        COALESCE(provider, what, tier, bucket::text, ''),
        count(*) FILTER (WHERE status = 'succeeded'), count(*) FILTER (WHERE status = 'failed'),
        count(*) FILTER (WHERE status = 'cancelled'), count(*) FILTER (WHERE status = 'interrupted'),
        count(*) FILTER (WHERE status IN ('queued', 'running')),
        sum(tokens), sum(cost_usd)
    FROM (
        SELECT date_trunc('hour', run.created_at, 'UTC') AS hour, run.provider, owner.tier, run.status,
            CASE WHEN chain = '' THEN agent ELSE chain END AS what,
            ceil({BUCKETS_PER_DECADE} * log(first_token_ms + 1))::int AS bucket,
            input_tokens::bigint + output_tokens AS tokens,
            CASE WHEN own_key THEN 0 ELSE run.cost_usd END AS cost_usd
        FROM runs_run AS run JOIN accounts_user AS owner ON owner.id = run.user_id
        WHERE run.created_at >= %(start)s AND run.created_at < %(end)s
    ) AS run
    GROUP BY GROUPING SETS ((hour), (hour, provider), (hour, what), (hour, tier), (hour, bucket))
    HAVING GROUPING(bucket) = 1 OR bucket IS NOT NULL
"""  # noqa: S608 - constants
# Hours of a day are only added, so a day may be counted in parts.
COUNT_USERS = """
    INSERT INTO runs_activeuser AS active (day, user_id, hours)
    SELECT (created_at AT TIME ZONE 'UTC')::date AS day, user_id,
        bit_or(1 << EXTRACT(HOUR FROM created_at AT TIME ZONE 'UTC')::int)
    FROM runs_run WHERE created_at >= %(start)s AND created_at < %(end)s
    GROUP BY day, user_id ORDER BY day, user_id
    ON CONFLICT (day, user_id) DO UPDATE SET hours = active.hours | EXCLUDED.hours
    WHERE active.hours <> active.hours | EXCLUDED.hours
"""
RECORD_BACKLOG = """
    INSERT INTO runs_backlog AS known (hour, queue, waiting) VALUES (date_trunc('hour', now(), 'UTC'), %s, %s)
    ON CONFLICT (hour, queue) DO UPDATE SET waiting = greatest(known.waiting, EXCLUDED.waiting)
"""


def start_of_hour(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


def bucket_ms(bucket: int) -> float:
    """Return the longest time to the first token of a bucket, in milliseconds."""
    return float(10 ** (bucket / BUCKETS_PER_DECADE)) - 1


def count_changed_hours() -> int:
    """Count all hours that may have changed; return how many."""
    # None while another process counts.
    now = datetime.now(UTC)
    counted = sum(count_hours(start, end) for start, end in _group_hours(_changed_hours(now)))
    if counted:
        with suppress(redis.RedisError, OSError):
            redis.client().set(COUNTED_AT_KEY, now.timestamp())
    return counted


def last_counted_at() -> datetime | None:
    with suppress(redis.RedisError, OSError):
        if (timestamp := redis.client().get(COUNTED_AT_KEY)) is not None:
            return datetime.fromtimestamp(float(timestamp), UTC)
    return None


def count_since(start: datetime | None = None) -> int:
    """Count all hours since a moment, else since the oldest run; return how many."""
    first = start or Run.objects.aggregate(oldest=Min("created_at"))["oldest"]
    hours = _hours(start_of_hour(first), datetime.now(UTC)) if first else []
    return sum(count_hours(*span) for span in _group_hours(hours))


@transaction.atomic
def count_hours(start: datetime, end: datetime) -> int:
    """Replace the figures of the full hours before `end`; return how many."""
    with connection.cursor() as cursor:
        if not cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [ADVISORY_LOCK]).fetchone()[0]:
            return 0
        HourlyFigures.objects.filter(hour__gte=start, hour__lt=end).delete()
        # The figures of an hour are replaced, never added to: a recount gives the same result.
        cursor.execute(COUNT, {"start": start, "end": end})
        cursor.execute(COUNT_USERS, {"start": start, "end": end})
    return (end - start) // HOUR


def record_backlog(queue: str, waiting: int) -> None:
    """Record the number of waiting messages of a queue if it is the hour's highest."""
    with connection.cursor() as cursor:
        cursor.execute(RECORD_BACKLOG, [queue, waiting])


def _changed_hours(now: datetime) -> list[datetime]:
    # The latest hours, hours with unfinished runs, and all hours since the last count.
    rows = HourlyFigures.objects.filter(by=Dimension.ALL)
    last = rows.aggregate(last=Max("hour"))["last"] or Run.objects.aggregate(oldest=Min("created_at"))["oldest"]
    start = start_of_hour(min(last or now, now - RECOUNT_WINDOW))
    unfinished = rows.filter(unfinished__gt=0, hour__lt=start).order_by("hour").values_list("hour", flat=True)
    return [*unfinished, *_hours(start, now)]


def _hours(start: datetime, now: datetime) -> list[datetime]:
    return [start + n * HOUR for n in range((now - start) // HOUR + 1)]


def _group_hours(hours: list[datetime]) -> Iterator[tuple[datetime, datetime]]:
    """Yield consecutive hours as spans of at most a day; each span is one transaction."""
    start = end = None
    for hour in hours:
        if start and end and (hour != end or end - start >= DAY):
            yield start, end
            start = None
        start, end = start or hour, hour + HOUR
    if start and end:
        yield start, end
