"""Bounds on starting runs: how many an owner has under way at once, and how many start in an hour.

Runs under way are counted from their rows, so that whatever ends a run gives its place back, and once. Starts are
counted in a row of their owner by the hour of the database's clock; a start that is refused is not counted. Both are
read under a lock of the owner (`runs_standing`, migration 0009), which makes them exact for starts in parallel, in the
statement that reserves the execution and writes the run (docs/adr/0004).
"""

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
from lunaos.infra import metrics
from runs.errors import ConcurrencyLimitReached

RETRY_S = 5  # most runs end within seconds

# Parts of `runs.services.BEGIN`; the first locks the owner until the transaction ends.
STANDING = "SELECT under_way, starts FROM runs_standing(%(user_id)s)"
ALLOWED = """
    EXISTS (SELECT FROM standing WHERE cardinality(under_way) < %(at_once)s AND starts < %(starts_per_hour)s)
"""
_COUNT = """
    INSERT INTO runs_hourlystarts AS counted (user_id, hour, starts)
    SELECT %(user_id)s, date_trunc('hour', now(), 'UTC'), 1 {where}
    ON CONFLICT (user_id) DO UPDATE SET
        hour = EXCLUDED.hour, starts = CASE WHEN counted.hour = EXCLUDED.hour THEN counted.starts + 1 ELSE 1 END
"""
COUNT = _COUNT.format(where="FROM reserved")
COUNT_ONE = _COUNT.format(where="")


@dataclass(frozen=True, slots=True)
class Standing:
    """What an owner has under way.

    Args:
        under_way: ids of runs that have not ended, the oldest first.
        starts: in this hour.
    """

    under_way: Sequence[UUID]
    starts: int


def bounds(user: User) -> dict[str, Any]:
    """Return the parameters of ALLOWED."""
    allowed = limits.for_owner(user)
    return {"at_once": allowed.executions_at_once, "starts_per_hour": allowed.starts_per_hour}


def lock(user: User) -> Standing:
    """Read what an owner has under way, and keep the owner's other starts waiting until the transaction ends."""
    parameters: dict[str, Any] = {"user_id": user.pk}
    with connection.cursor() as cursor:
        return Standing(*cursor.execute(STANDING, parameters).fetchone())


def take(user: User, standing: Standing) -> None:
    """Count a start that writes no run, as of a chain that is resumed.

    Args:
        standing: as `lock` read it in this transaction.

    Raises:
        RateLimited, ConcurrencyLimitReached: nothing is counted then.
    """
    if refused := refusal(user, standing, bounds(user)):
        raise refused
    parameters: dict[str, Any] = {"user_id": user.pk}
    with connection.cursor() as cursor:
        cursor.execute(COUNT_ONE, parameters)


def refusal(user: User, standing: Standing, allowed: dict[str, Any]) -> LunaError | None:
    """Return why an owner may not start a run; the reason that lasts longer where there are two, None where none is."""
    tier = tiers.get(user.tier)
    if standing.starts >= allowed["starts_per_hour"]:
        return _too_many_starts(tier, allowed["starts_per_hour"])
    if len(standing.under_way) >= allowed["at_once"]:
        return _too_many_at_once(tier, allowed["at_once"], standing)
    return None


def _too_many_starts(tier: Tier, limit: int) -> RateLimited:
    metrics.RUN_REFUSALS.labels(RateLimited.code, tier.name).inc()
    left_s = _left_of_hour_s(datetime.now(UTC))
    return RateLimited(
        f"{limit} runs may be started an hour on the {tier.name} tier. Try again in {left_s} seconds.",
        retry_after=left_s,
        limit=limit,
        tier=tier.name,
        **_upgrade(tier),
    )


def _too_many_at_once(tier: Tier, limit: int, standing: Standing) -> ConcurrencyLimitReached:
    metrics.RUN_REFUSALS.labels(ConcurrencyLimitReached.code, tier.name).inc()
    return ConcurrencyLimitReached(
        f"The {tier.name} tier runs {limit} at once. Wait for a run to end, or cancel one: POST /runs/{{id}}/cancel.",
        retry_after=RETRY_S,
        limit=limit,
        running=[str(run_id) for run_id in standing.under_way],
        tier=tier.name,
        **_upgrade(tier),
    )


def _upgrade(tier: Tier) -> dict[str, str]:
    # CONTRACT, section 1, promises `upgradeUrl` in a 429 to the free tier only.
    return {"upgradeUrl": tiers.upgrade_url()} if tier.name == tiers.FREE else {}


def _left_of_hour_s(now: datetime) -> int:
    end = now.replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)
    return max(1, int((end - now).total_seconds()) + 1)
