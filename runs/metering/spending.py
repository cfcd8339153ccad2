"""The daily cost (UTC) on the server's provider keys, and its limits."""

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

SHARDS = 16  # rows per day and group, so that runs that end at once rarely wait for a row lock
MAX_AGE_DAYS = 90
ALERT_PERCENTS = (80, 100)
MAX_RETRY_AFTER_S = 3600  # operators may raise a limit before the day ends
AUDIT_INTERVAL_S = 3600
LIMIT_SETTINGS = {"total": "LLM_DAILY_LIMIT_USD", "free": "LLM_FREE_DAILY_LIMIT_USD"}

TODAY = "(now() AT TIME ZONE 'UTC')::date"  # by the database's clock, since the clocks of machines differ
# Parts of FINISH. A resumed chain adds only its cost since its previous end. The previous cost is read under a lock:
# without the lock, a statement that waited for another transaction would subtract an outdated cost.
LOCK_RUN = "SELECT id, cost_usd, expires_at FROM runs_run WHERE id = %(id)s FOR NO KEY UPDATE"
# Runs under way have no cost yet, so a day may end above its limit by their cost. `Try it` in the admin is not a run
# and not counted.
ADD_COST = f"""
    INSERT INTO runs_dailyspending AS spending (day, free, shard, cost_usd)
    SELECT {TODAY}, owner.tier = '{tiers.FREE}', %(shard)s, added_usd
    FROM run JOIN accounts_user AS owner ON owner.id = run.user_id
    WHERE NOT own_key AND added_usd > 0
    ON CONFLICT (day, free, shard) DO UPDATE SET cost_usd = spending.cost_usd + EXCLUDED.cost_usd
"""  # noqa: S608 - constants
TODAYS_SUMS = f"""
    SELECT {TODAY}, COALESCE(sum(cost_usd), 0), COALESCE(sum(cost_usd) FILTER (WHERE free), 0)
    FROM runs_dailyspending WHERE day = {TODAY}
"""  # noqa: S608 - constants


@dataclass(frozen=True, slots=True)
class DayCost:
    day: date
    total: Decimal  # of all runs on the server's keys
    free: Decimal  # of the free tier's runs among them


def shard(run_id: UUID) -> int:
    """Return the number of the day's row that takes a run's cost."""
    return run_id.int % SHARDS


def limits() -> dict[str, Decimal]:
    """Return the limits that are set, by the field of `DayCost` that they bound."""
    found = {scope: getattr(settings, name) for scope, name in LIMIT_SETTINGS.items()}
    return {scope: limit for scope, limit in found.items() if limit}


def cost_today() -> DayCost:
    # At most 2 * SHARDS rows.
    with connection.cursor() as cursor:
        return DayCost(*cursor.execute(TODAYS_SUMS).fetchone())


def is_exhausted(user: User) -> bool:
    """Return whether a daily limit bars a user from the server's keys."""
    # Limits apply to the free tier only, and the database is asked only if a limit is set.
    set_limits = limits()
    if not set_limits or tiers.get(user.tier).name != tiers.FREE:
        return False
    spent = cost_today()
    return any(getattr(spent, scope) >= limit for scope, limit in set_limits.items())


def refusal(user: User, provider: str) -> SpendLimitReached:
    """Return the error for a refused run, and record the refusal."""
    # One row per user and hour, so that a client's retries do not fill the audit trail.
    if _is_first_refusal(user):
        trail.record_on_commit(Action.RUN_REFUSED, actor=user, subject=user, reason=SpendLimitReached.code)
    return SpendLimitReached(
        "This server's budget for free runs is used up for today. Use your own provider key "
        f"(PUT /providers/{provider}/key), upgrade your plan, or come back tomorrow (UTC).",
        retry_after=_retry_after_s(datetime.now(UTC)),
        upgradeUrl=tiers.upgrade_url(user.tier),
    )


def send_alerts() -> None:
    """Alert the operators when today's cost reaches 80 % or 100 % of a limit."""
    set_limits = limits()
    if not set_limits:
        return
    spent = cost_today()
    for scope, limit in set_limits.items():
        reached = [mark for mark in ALERT_PERCENTS if 100 * getattr(spent, scope) >= mark * limit]
        if reached:
            _send_alert(scope, reached[-1], spent)


def delete_expired() -> None:
    oldest = datetime.now(UTC).date() - timedelta(days=MAX_AGE_DAYS)
    DailySpending.objects.filter(day__lt=oldest).delete()


def _send_alert(scope: str, mark: int, spent: DayCost) -> None:
    name = LIMIT_SETTINGS[scope]
    message = f"Today's runs on the server's provider keys have cost {mark} % of {name}."
    if mark == 100:
        message = f"{name} is reached: free users' runs on the server's provider keys are refused until midnight UTC."
    facts = {"spent_usd": str(getattr(spent, scope)), "limit_usd": str(getattr(settings, name))}
    # the day is part of the subject, so that a late alert does not suppress the next day's
    alerts.send_daily("spend_limit", f"{scope}:{mark}:{spent.day}", message, day=str(spent.day), **facts)


def _is_first_refusal(user: User) -> bool:
    try:
        return bool(cache.add(f"spend-refused:{user.pk}", 1, AUDIT_INTERVAL_S))
    except (RedisError, OSError):
        # Without the cache a row too many is better than none.
        return True


def _retry_after_s(now: datetime) -> int:
    midnight = datetime.combine(now.date() + timedelta(days=1), time.min, UTC)
    return min(MAX_RETRY_AFTER_S, math.ceil((midnight - now).total_seconds()))
