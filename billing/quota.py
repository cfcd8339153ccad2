"""Executions a month: reserved before a run, settled when it produced something, released when it did not.

The counter only ever changes in one conditional statement, so that parallel requests cannot pass the limit together.
Reserving makes no difference between the reserved and the settled: settling is the run's own mark (`runs.Run.charge`)
and costs no write here.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from typing import Any
from uuid import UUID

from django.db import connection
from django.db.models import F

from accounts.auditlog import trail
from accounts.auditlog.trail import Action
from accounts.models import User
from billing import tasks, tiers
from billing.errors import QuotaExceeded
from billing.models import MonthlyUsage
from lunaos.infra import metrics
from lunaos.infra.task_queue import enqueue

WARN_FROM_PERCENT = 80
TOLD_AT_PERCENT = (WARN_FROM_PERCENT, 100)  # by mail

# An upsert whose update has a condition: no row comes back when the limit is reached (PostgreSQL, INSERT, ON CONFLICT).
# Whoever writes the run puts it in front of that statement, so that both happen or none.
_RESERVE = """
    INSERT INTO billing_monthlyusage AS usage (user_id, month, executions, chains, told_percent)
    SELECT %(user_id)s, %(month)s, 1, %(chains)s, 0 WHERE %(quota)s > 0 AND {condition}
    ON CONFLICT (user_id, month) DO UPDATE
    SET executions = usage.executions + 1, chains = usage.chains + EXCLUDED.chains
    WHERE usage.executions < %(quota)s
    RETURNING executions, chains, told_percent
"""

# The same row for an execution that is not counted.
_LOOK = """
    SELECT COALESCE(max(executions), 0) AS executions, COALESCE(max(chains), 0) AS chains,
        COALESCE(max(told_percent), 0) AS told_percent
    FROM billing_monthlyusage WHERE user_id = %(user_id)s AND month = %(month)s
    HAVING {condition}
"""


def reserving(condition: str = "true") -> str:
    """Return the statement that reserves an execution where SQL of ours holds; no row comes back where it does not."""
    return _RESERVE.format(condition=condition)


def looking(condition: str = "true") -> str:
    """Return the statement that gives the same row for an execution that is not counted."""
    return _LOOK.format(condition=condition)


RESERVE = reserving()


@dataclass(frozen=True, slots=True)
class Usage:
    """A user's month.

    Args:
        month: its first day, in UTC.
        used: executions, of agents and of chains together.
        chains: those of chains.
        told_percent: the mark at which the user was mailed last.
    """

    month: date
    limit: int
    used: int = 0
    chains: int = 0
    told_percent: int = 0

    @property
    def percent(self) -> int:
        return round(100 * self.used / self.limit)

    @property
    def remaining(self) -> int:
        return max(0, self.limit - self.used)

    @property
    def agents(self) -> int:
        return self.used - self.chains

    @property
    def start(self) -> datetime:
        """The month's first moment."""
        return datetime.combine(self.month, time.min, UTC)

    @property
    def end(self) -> datetime:
        """The first moment of the month after it."""
        return datetime(self.month.year + self.month.month // 12, self.month.month % 12 + 1, 1, tzinfo=UTC)

    @property
    def warning(self) -> str | None:
        """The sentence of the contract, from 80 % on; rounded down, for what is not reached is not said to be."""
        reached = 100 * self.used // self.limit
        return f"{reached}% of monthly limit reached" if reached >= WARN_FROM_PERCENT else None

    @property
    def headers(self) -> dict[str, str]:
        """The `X-Usage-*` headers of the contract."""
        headers = {
            "X-Usage-Used": str(self.used),
            "X-Usage-Limit": str(self.limit),
            "X-Usage-Remaining": str(self.remaining),
        }
        return headers | ({"X-Usage-Warning": self.warning} if self.warning else {})


def exempts(user: User, *, own_key: bool) -> bool:
    """Whether an execution is not counted: one that a user of the free tier pays the provider for."""
    return own_key and tiers.of(user.tier).name == tiers.FREE


def allowance(user: User, now: datetime, *, chain: bool) -> dict[str, Any]:
    """The parameters of RESERVE: whose month, which month, how much it holds, and whether it is for a chain."""
    quota = tiers.of(user.tier).executions
    return {"user_id": user.pk, "month": _month(now), "quota": quota, "chains": int(chain)}


def after(
    user: User, allowance: dict[str, Any], reserved: tuple[int, int, int] | None, *, exempt: bool = False
) -> Usage:
    """The month after a reservation, whose owner is mailed where it has come to a mark.

    Args:
        reserved: the row that RESERVE returned.
        exempt: it is that of `looking`, and nothing has changed.

    Raises:
        QuotaExceeded: it returned none, the month is used up.
    """
    if reserved is None:
        raise _exceeded(user, datetime.now(UTC))
    usage = Usage(allowance["month"], allowance["quota"], *reserved)
    if not exempt:
        _tell(user, usage)
    return usage


def current(user: User, now: datetime) -> Usage:
    """Where a user's month stands."""
    limit, month = tiers.of(user.tier).executions, _month(now)
    row = MonthlyUsage.objects.filter(user=user, month=month).first()
    return Usage(month, limit, row.executions, row.chains, row.told_percent) if row else Usage(month, limit)


def reserve(user: User, now: datetime, *, chain: bool) -> Usage:
    """Reserve one execution by itself, for what runs once more.

    Raises:
        QuotaExceeded: the month is used up.
    """
    parameters = allowance(user, now, chain=chain)
    with connection.cursor() as cursor:
        cursor.execute(RESERVE, parameters)
        return after(user, parameters, cursor.fetchone())


def release(*, user_id: UUID, month: date, chain: bool) -> None:
    """Give one execution back; the caller holds the run's mark and so calls this once a run."""
    usage = MonthlyUsage.objects.filter(user_id=user_id, month=month, executions__gt=0)
    usage.update(executions=F("executions") - 1, chains=F("chains") - int(chain))


@contextmanager
def refusals_recorded(user: User) -> Iterator[None]:
    """Put a refusal into the audit trail, outside the transaction that it undoes."""
    try:
        yield
    except QuotaExceeded as e:
        trail.record_on_commit(Action.RUN_REFUSED, actor=user, subject=user, reason=e.code, **_figures(e))
        raise


def _figures(refusal: QuotaExceeded) -> dict[str, Any]:
    return {name: refusal.extra[name] for name in ("tier", "used", "limit")}


def _exceeded(user: User, now: datetime) -> QuotaExceeded:
    tier, usage = tiers.of(user.tier), current(user, now)
    metrics.QUOTA_REFUSALS.labels(tier.name).inc()
    return QuotaExceeded(
        tier=tier.name,
        used=usage.used,
        limit=usage.limit,
        upgradeUrl=tiers.upgrade_url(),
        message=f"All {usage.limit} executions of the {tier.name} tier are used until the month ends.",
    )


def _tell(user: User, usage: Usage) -> None:
    """Mail the owner once a mark and month, however many requests come to it together."""
    due = max((mark for mark in TOLD_AT_PERCENT if 100 * usage.used >= mark * usage.limit), default=0)
    if due <= usage.told_percent:
        return
    untold = MonthlyUsage.objects.filter(user=user, month=usage.month, told_percent__lt=due)
    if untold.update(told_percent=due):
        enqueue.on_commit(tasks.send_usage_warning, str(user.pk), due, usage.used, usage.limit)


def tell_again(user: User, now: datetime) -> None:
    """With another tier the marks of this month come anew."""
    MonthlyUsage.objects.filter(user=user, month=_month(now)).update(told_percent=0)


def _month(now: datetime) -> date:
    return now.date().replace(day=1)
