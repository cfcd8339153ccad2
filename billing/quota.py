"""Monthly executions: reserved before a run, released when it produces nothing."""

# The counter only changes in one conditional statement, so that parallel requests cannot pass the limit together.
# Settling a charge writes nothing here: a reserved execution stays counted, and the run's row records the settlement
# (`runs.Run.charge`).

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
from lunaos.infra.observability import metrics
from lunaos.infra.task_queue import enqueue

WARN_FROM_PERCENT = 80
MAIL_AT_PERCENT = (WARN_FROM_PERCENT, 100)  # of the monthly limit; an e-mail goes out at each

# An upsert whose update has a condition: no row comes back when the limit is reached (PostgreSQL, INSERT, ON CONFLICT).
# The caller that writes the run puts it in front of that statement, so that both are written or neither is.
_RESERVATION_SQL = """
    INSERT INTO billing_monthlyusage AS usage (user_id, month, executions, chains, told_percent)
    SELECT %(user_id)s, %(month)s, 1, %(chains)s, 0 WHERE %(quota)s > 0 AND {condition}
    ON CONFLICT (user_id, month) DO UPDATE
    SET executions = usage.executions + 1, chains = usage.chains + EXCLUDED.chains
    WHERE usage.executions < %(quota)s
    RETURNING executions, chains, told_percent
"""

# The same row for an execution that is not counted.
_USAGE_SQL = """
    SELECT COALESCE(max(executions), 0) AS executions, COALESCE(max(chains), 0) AS chains,
        COALESCE(max(told_percent), 0) AS told_percent
    FROM billing_monthlyusage WHERE user_id = %(user_id)s AND month = %(month)s
    HAVING {condition}
"""


def reservation_sql(condition: str = "true") -> str:
    """Return the SQL that reserves an execution if a condition (SQL of ours) holds."""
    # The statement returns no row if the condition does not hold or the month is used up.
    return _RESERVATION_SQL.format(condition=condition)


def usage_sql(condition: str = "true") -> str:
    """Return the SQL that reads the same row for an execution that is not counted."""
    return _USAGE_SQL.format(condition=condition)


RESERVATION_SQL = reservation_sql()


@dataclass(frozen=True, slots=True)
class Usage:
    """A user's executions, agents and chains together, in the UTC month that begins with `month`."""

    # `told_percent` is the mark at which the user was mailed last.

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
        return datetime.combine(self.month, time.min, UTC)

    @property
    def end(self) -> datetime:
        return datetime(self.month.year + self.month.month // 12, self.month.month % 12 + 1, 1, tzinfo=UTC)

    @property
    def warning(self) -> str | None:
        """Return the contract's sentence from 80 % on, with the percentage rounded down."""
        reached = 100 * self.used // self.limit
        return f"{reached}% of monthly limit reached" if reached >= WARN_FROM_PERCENT else None

    @property
    def headers(self) -> dict[str, str]:
        """Return the `X-Usage-*` headers of the contract."""
        headers = {
            "X-Usage-Used": str(self.used),
            "X-Usage-Limit": str(self.limit),
            "X-Usage-Remaining": str(self.remaining),
        }
        return headers | ({"X-Usage-Warning": self.warning} if self.warning else {})


def is_exempt(user: User, *, own_key: bool) -> bool:
    """Return whether an execution is not counted: one on a free user's own key."""
    return own_key and tiers.get(user.tier).name == tiers.FREE


def reservation_parameters(user: User, now: datetime, *, chain: bool) -> dict[str, Any]:
    """Return the parameters of RESERVATION_SQL: user, month, quota and chains."""
    quota = tiers.get(user.tier).executions
    return {"user_id": user.pk, "month": _first_of_month(now), "quota": quota, "chains": int(chain)}


def usage_after_reservation(
    user: User, parameters: dict[str, Any], reserved: tuple[int, int, int] | None, *, exempt: bool = False
) -> Usage:
    """Return the usage after a reservation, and mail the owner at a mark; raise QuotaExceeded without a row."""
    # For an exempt run, `reserved` is the row of `usage_sql`.
    if reserved is None:
        raise _quota_exceeded(user, datetime.now(UTC))
    usage = Usage(parameters["month"], parameters["quota"], *reserved)
    if not exempt:
        _warn_owner(user, usage)
    return usage


def current_usage(user: User, now: datetime) -> Usage:
    limit, month = tiers.get(user.tier).executions, _first_of_month(now)
    row = MonthlyUsage.objects.filter(user=user, month=month).first()
    return Usage(month, limit, row.executions, row.chains, row.told_percent) if row else Usage(month, limit)


def reserve(user: User, now: datetime, *, chain: bool) -> Usage:
    """Reserve one execution in a statement of its own, for a run that is resumed, or raise QuotaExceeded."""
    parameters = reservation_parameters(user, now, chain=chain)
    with connection.cursor() as cursor:
        cursor.execute(RESERVATION_SQL, parameters)
        return usage_after_reservation(user, parameters, cursor.fetchone())


def release(*, user_id: UUID, month: date, chain: bool) -> None:
    """Give one execution back; the caller has just released the run's charge."""
    usage = MonthlyUsage.objects.filter(user_id=user_id, month=month, executions__gt=0)
    usage.update(executions=F("executions") - 1, chains=F("chains") - int(chain))


@contextmanager
def audit_refusals(user: User) -> Iterator[None]:
    """Record a refusal in the audit trail, outside the transaction that rolls back."""
    try:
        yield
    except QuotaExceeded as e:
        trail.record_on_commit(Action.RUN_REFUSED, actor=user, subject=user, reason=e.code, **_refusal_details(e))
        raise


def _refusal_details(refusal: QuotaExceeded) -> dict[str, Any]:
    return {name: refusal.extra[name] for name in ("tier", "used", "limit")}


def _quota_exceeded(user: User, now: datetime) -> QuotaExceeded:
    tier, usage = tiers.get(user.tier), current_usage(user, now)
    metrics.QUOTA_REFUSALS.labels(tier.name).inc()
    return QuotaExceeded(
        f"All executions of this month are used. The next month starts on {usage.end:%Y-%m-%d}.",
        tier=tier.name,
        used=usage.used,
        limit=usage.limit,
        periodEnd=usage.end,
        upgradeUrl=tiers.upgrade_url(tier.name),
        message=(
            f"All {usage.limit} executions of the {tier.name} tier are used. "
            f"The next month starts on {usage.end:%Y-%m-%d}."
        ),
    )


def _warn_owner(user: User, usage: Usage) -> None:
    # Mail the owner once per mark and month, however many requests reach it.
    due = max((mark for mark in MAIL_AT_PERCENT if 100 * usage.used >= mark * usage.limit), default=0)
    if due <= usage.told_percent:
        return
    untold = MonthlyUsage.objects.filter(user=user, month=usage.month, told_percent__lt=due)
    if untold.update(told_percent=due):
        enqueue.on_commit(tasks.send_usage_warning, str(user.pk), due, usage.used, usage.limit)


def reset_warnings(user: User, now: datetime) -> None:
    """Let this month's warnings be sent again, after a change of tier."""
    MonthlyUsage.objects.filter(user=user, month=_first_of_month(now)).update(told_percent=0)


def _first_of_month(now: datetime) -> date:
    return now.date().replace(day=1)
