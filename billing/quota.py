"""Executions a month: reserved before a run, settled when it produced something, released when it did not.

The counter only ever changes in one conditional statement, so that parallel requests cannot pass the limit together.
Reserving makes no difference between the reserved and the settled: settling is the run's own mark (`runs.Run.charge`)
and costs no write here.
"""

from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from uuid import UUID

from django.db import connection
from django.db.models import F

from accounts.models import User
from billing import tiers
from billing.errors import QuotaExceeded
from billing.models import MonthlyUsage

WARN_FROM_PERCENT = 80

# An upsert whose update has a condition: no row comes back when the limit is reached (PostgreSQL, INSERT, ON CONFLICT).
# Whoever writes the run puts it in front of that statement, so that both happen or none.
RESERVE = """
    INSERT INTO billing_monthlyusage AS usage (user_id, month, executions) VALUES (%(user_id)s, %(month)s, 1)
    ON CONFLICT (user_id, month) DO UPDATE SET executions = usage.executions + 1
    WHERE usage.executions < %(quota)s
    RETURNING executions
"""


@dataclass(frozen=True, slots=True)
class Usage:
    """A user's month after a reservation."""

    used: int
    limit: int

    @property
    def percent(self) -> int:
        return round(100 * self.used / self.limit)

    @property
    def headers(self) -> dict[str, str]:
        """The `X-Usage-*` headers of the contract."""
        headers = {
            "X-Usage-Used": str(self.used),
            "X-Usage-Limit": str(self.limit),
            "X-Usage-Remaining": str(max(0, self.limit - self.used)),
        }
        if self.percent >= WARN_FROM_PERCENT:
            headers["X-Usage-Warning"] = f"{self.percent}% of monthly limit reached"
        return headers


def allowance(user: User, now: datetime) -> dict[str, Any]:
    """The parameters of RESERVE: whose month, which month, and how much it holds."""
    return {"user_id": user.pk, "month": now.date().replace(day=1), "quota": tiers.of(user.tier).executions}


def current(user: User, now: datetime) -> Usage:
    """Where a user's month stands."""
    month = MonthlyUsage.objects.filter(user=user, month=now.date().replace(day=1)).first()
    return Usage(month.executions if month else 0, tiers.of(user.tier).executions)


def reserve(user: User, now: datetime) -> Usage:
    """Reserve one execution by itself, for what runs once more.

    Raises:
        QuotaExceeded: the month is used up.
    """
    parameters = allowance(user, now)
    with connection.cursor() as cursor:
        cursor.execute(RESERVE, parameters)
        reserved = cursor.fetchone()
    if reserved is None:
        raise exceeded(user)
    return Usage(reserved[0], parameters["quota"])


def exceeded(user: User) -> QuotaExceeded:
    """The refusal for a month that is used up."""
    tier = tiers.of(user.tier)
    return QuotaExceeded(
        tier=tier.name,
        used=tier.executions,
        limit=tier.executions,
        upgradeUrl=tiers.upgrade_url(),
        message=f"All {tier.executions} executions of the {tier.name} tier are used until the month ends.",
    )


def release(*, user_id: UUID, month: date) -> None:
    """Give one execution back; the caller holds the run's mark and so calls this once a run."""
    MonthlyUsage.objects.filter(user_id=user_id, month=month, executions__gt=0).update(executions=F("executions") - 1)
