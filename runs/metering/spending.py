"""What the server's own provider keys cost a day (UTC), and the daily limits on it.

The statement that ends a run adds the run's cost (`runs.outcomes.FINISH`), so the sums are those of the runs. Runs that
are under way have no cost yet: a day may end above its limit by what they come to. `Try it` in the admin is no run.
"""

import math
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from uuid import UUID

from django.conf import settings
from django.core.cache import cache
from django.db import connection

from accounts.auditlog import alerts, trail
from accounts.auditlog.trail import Action
from accounts.models import User
from billing import tiers
from lunaos.infra.redis import RedisError
from runs.errors import SpendLimitReached
from runs.models import DailySpending

SHARDS = 16  # rows a day and group; runs that end at once rarely wait for each other's
KEPT_DAYS = 90
MARKS_PERCENT = (80, 100)
MAX_RETRY_AFTER_S = 3600  # operators may raise a limit before the day ends
AUDIT_EVERY_S = 3600
SETTINGS = {"total": "LLM_DAILY_LIMIT_USD", "free": "LLM_FREE_DAILY_LIMIT_USD"}

TODAY = "(now() AT TIME ZONE 'UTC')::date"  # by the database's clock, for those of several machines differ
# Parts of FINISH. A chain that ends for the second time adds only what it has cost since. Its earlier cost is read
# under a lock: without one, a statement that waits for another transaction would subtract the cost before that one.
BEFORE = "SELECT id, cost_usd, expires_at FROM runs_run WHERE id = %(id)s FOR NO KEY UPDATE"
ADD = f"""
    INSERT INTO runs_dailyspending AS spending (day, free, shard, cost_usd)
    SELECT {TODAY}, owner.tier = '{tiers.FREE}', %(shard)s, added_usd
    FROM run JOIN accounts_user AS owner ON owner.id = run.user_id
    WHERE NOT own_key AND added_usd > 0
    ON CONFLICT (day, free, shard) DO UPDATE SET cost_usd = spending.cost_usd + EXCLUDED.cost_usd
"""  # noqa: S608 - constants
SUMS = f"""
    SELECT {TODAY}, COALESCE(sum(cost_usd), 0), COALESCE(sum(cost_usd) FILTER (WHERE free), 0)
    FROM runs_dailyspending WHERE day = {TODAY}
"""  # noqa: S608 - constants


@dataclass(frozen=True, slots=True)
class Spent:
    """What a day has cost so far, in US dollars.

    Args:
        total: of all runs on the server's keys.
        free: of those of the free tier.
    """

    day: date
    total: Decimal
    free: Decimal


def shard(run_id: UUID) -> int:
    """Return which of the day's rows takes a run's cost."""
    return run_id.int % SHARDS


def limits() -> dict[str, Decimal]:
    """Return the limits that are set, by the member of `Spent` that they bound."""
    found = {scope: getattr(settings, name) for scope, name in SETTINGS.items()}
    return {scope: limit for scope, limit in found.items() if limit}


def today() -> Spent:
    """Return what today has cost, by the database; one statement over 2 * SHARDS rows at most."""
    with connection.cursor() as cursor:
        return Spent(*cursor.execute(SUMS).fetchone())


def is_exhausted(user: User) -> bool:
    """Return whether a daily limit keeps a user from the server's provider keys; limits bind the free tier alone.

    Asks the database only where a limit is set.
    """
    set_limits = limits()
    if not set_limits or tiers.of(user.tier).name != tiers.FREE:
        return False
    spent = today()
    return any(getattr(spent, scope) >= limit for scope, limit in set_limits.items())


def refusal(user: User, provider: str) -> SpendLimitReached:
    """Return the error for a run that is refused, and put the refusal into the audit trail, once a user and hour.

    Args:
        provider: the one asked for, which takes users' own keys.
    """
    if _is_first_refusal(user):
        trail.record_on_commit(Action.RUN_REFUSED, actor=user, subject=user, reason=SpendLimitReached.code)
    return SpendLimitReached(
        "This server's budget for free runs is used up for today. Use your own provider key "
        f"(PUT /providers/{provider}/key), upgrade your plan, or come back tomorrow (UTC).",
        retry_after=_retry_after_s(datetime.now(UTC)),
        upgradeUrl=tiers.upgrade_url(),
    )


def sound_alarms() -> None:
    """Tell the operators which mark of each limit today's cost has reached, once a mark and day."""
    set_limits = limits()
    if not set_limits:
        return
    spent = today()
    for scope, limit in set_limits.items():
        reached = [mark for mark in MARKS_PERCENT if 100 * getattr(spent, scope) >= mark * limit]
        if reached:
            _sound(scope, reached[-1], spent)


def delete_expired() -> None:
    """Drop the sums of days that are not kept any more."""
    oldest = datetime.now(UTC).date() - timedelta(days=KEPT_DAYS)
    DailySpending.objects.filter(day__lt=oldest).delete()


def _sound(scope: str, mark: int, spent: Spent) -> None:
    name = SETTINGS[scope]
    message = f"Today's runs on the server's provider keys have cost {mark} % of {name}."
    if mark == 100:
        message = f"{name} is reached: free users' runs on the server's provider keys are refused until midnight UTC."
    facts = {"spent_usd": str(getattr(spent, scope)), "limit_usd": str(getattr(settings, name))}
    # the day is part of the subject: an alarm late in the evening must not silence the next day's
    alerts.send_daily("spend_limit", f"{scope}:{mark}:{spent.day}", message, day=str(spent.day), **facts)


def _is_first_refusal(user: User) -> bool:
    try:
        return bool(cache.add(f"spend-refused:{user.pk}", 1, AUDIT_EVERY_S))
    except (RedisError, OSError):
        return True


def _retry_after_s(now: datetime) -> int:
    midnight = datetime.combine(now.date() + timedelta(days=1), time.min, UTC)
    return min(MAX_RETRY_AFTER_S, math.ceil((midnight - now).total_seconds()))
