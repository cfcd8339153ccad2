"""Limits on starts: runs at once per owner, and starts per hour."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import connection

from accounts.models import User
from billing import limits, tiers
from billing.models import Tier
from lunaos.errors import LunaError, RateLimited
from lunaos.infra.observability import metrics
from runs.errors import ConcurrencyLimitReached

RETRY_AFTER_S = 5  # most runs end within seconds

# Parts of `runs.services.CREATE_RUN`. The first locks the owner (migration 0009) until the transaction ends, in the
# statement that also reserves and writes (docs/adr/0004), so the limits are exact for parallel starts. Runs under way
# are counted from their rows, so any end of a run frees its place exactly once.
LOCK_OWNER = "SELECT under_way, starts FROM runs_standing(%(user_id)s)"
WITHIN_LIMITS = """
    EXISTS (SELECT FROM standing WHERE cardinality(under_way) < %(at_once)s AND starts < %(starts_per_hour)s)
"""
_COUNT_START = """
    INSERT INTO runs_hourlystarts AS counted (user_id, hour, starts)
    SELECT %(user_id)s, date_trunc('hour', now(), 'UTC'), 1 {where}
    ON CONFLICT (user_id) DO UPDATE SET
        hour = EXCLUDED.hour, starts = CASE WHEN counted.hour = EXCLUDED.hour THEN counted.starts + 1 ELSE 1 END
"""
COUNT_START = _COUNT_START.format(where="FROM reserved")
COUNT_SINGLE_START = _COUNT_START.format(where="")


@dataclass(frozen=True, slots=True)
class OwnerActivity:
    under_way: Sequence[UUID]  # ids of unfinished runs, the oldest first
    starts: int  # number of starts in this hour


def sql_parameters(user: User) -> dict[str, Any]:
    """Return the parameters of WITHIN_LIMITS."""
    allowed = limits.for_owner(user)
    return {"at_once": allowed.executions_at_once, "starts_per_hour": allowed.starts_per_hour}


def lock_owner(user: User) -> OwnerActivity:
    """Read an owner's activity; block other starts until the transaction ends."""
    parameters: dict[str, Any] = {"user_id": user.pk}
    with connection.cursor() as cursor:
        return OwnerActivity(*cursor.execute(LOCK_OWNER, parameters).fetchone())


def count_start(user: User, activity: OwnerActivity) -> None:
    """Count a start without a new run, given `lock_owner`'s result; raise if refused."""
    if refused := refusal(user, activity, sql_parameters(user)):
        raise refused
    parameters: dict[str, Any] = {"user_id": user.pk}
    with connection.cursor() as cursor:
        cursor.execute(COUNT_SINGLE_START, parameters)


def refusal(user: User, activity: OwnerActivity, allowed: dict[str, Any]) -> LunaError | None:
    """Return the error if an owner may not start a run, else None."""
    tier = tiers.get(user.tier)
    # first, because this limit has the longer wait
    if activity.starts >= allowed["starts_per_hour"]:
        return _too_many_starts(tier, allowed["starts_per_hour"])
    if len(activity.under_way) >= allowed["at_once"]:
        return _too_many_at_once(tier, allowed["at_once"], activity)
    return None


def _too_many_starts(tier: Tier, limit: int) -> RateLimited:
    metrics.RUN_REFUSALS.labels(RateLimited.code, tier.name).inc()
    left_s = _seconds_to_next_hour(datetime.now(UTC))
    return RateLimited(
        f"The {tier.name} tier starts {limit} runs per hour. Try again in {left_s} seconds.",
        retry_after=left_s,
        limit=limit,
        tier=tier.name,
        **_upgrade(tier),
    )


def _too_many_at_once(tier: Tier, limit: int, activity: OwnerActivity) -> ConcurrencyLimitReached:
    metrics.RUN_REFUSALS.labels(ConcurrencyLimitReached.code, tier.name).inc()
    return ConcurrencyLimitReached(
        f"The {tier.name} tier has {limit} runs at once. "
        "Wait for a run to end, or cancel one: POST /runs/{id}/cancel.",
        retry_after=RETRY_AFTER_S,
        limit=limit,
        running=[str(run_id) for run_id in activity.under_way],
        tier=tier.name,
        **_upgrade(tier),
    )


def _upgrade(tier: Tier) -> dict[str, str]:
    # CONTRACT, section 1, promises `upgradeUrl` in a 429 to the free tier only.
    return {"upgradeUrl": tiers.upgrade_url(tier.name)} if tier.name == tiers.FREE else {}


def _seconds_to_next_hour(now: datetime) -> int:
    end = now.replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)
    return max(1, int((end - now).total_seconds()) + 1)
