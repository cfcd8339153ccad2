"""Executions a month: reserved before a run, settled when it produced something, released when it did not.

The counter only ever changes in one conditional statement, so that parallel requests cannot pass the limit together.
Reserving makes no difference between the reserved and the settled: settling is the run's own mark (`runs.Run.charge`)
and costs no write here.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime
from uuid import UUID

from django.db import connection
from django.db.models import F

from accounts.models import User
from billing import tiers
from billing.errors import QuotaExceeded
from billing.models import MonthlyUsage

WARN_FROM_PERCENT = 80

# An upsert whose update has a condition: no row comes back when the limit is reached (PostgreSQL, INSERT, ON CONFLICT).
RESERVE = """
    INSERT INTO billing_monthlyusage AS usage (user_id, month, executions) VALUES (%s, %s, 1)
    ON CONFLICT (user_id, month) DO UPDATE SET executions = usage.executions + 1 WHERE usage.executions < %s
    RETURNING executions
"""


@dataclass(frozen=True, slots=True)
class Usage:
    """A user's month after a reservation."""

    used: int
    limit: int
    month: date

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


def reserve(*, user: User) -> Usage:
    """Take one execution from the user's month.

    Raises:
        QuotaExceeded: the month has none left.
    """
    tier, month = tiers.of(user.tier), datetime.now(UTC).date().replace(day=1)
    with connection.cursor() as cursor:
        cursor.execute(RESERVE, [user.pk, month, tier.executions])
        row = cursor.fetchone()
    if row is None:
        raise QuotaExceeded(
            tier=tier.name,
            used=tier.executions,
            limit=tier.executions,
            upgradeUrl=tiers.upgrade_url(),
            message=f"All {tier.executions} executions of the {tier.name} tier are used until the month ends.",
        )
    return Usage(row[0], tier.executions, month)


def release(*, user_id: UUID, month: date) -> None:
    """Give one execution back; the caller holds the run's mark and so calls this once a run."""
    MonthlyUsage.objects.filter(user_id=user_id, month=month, executions__gt=0).update(executions=F("executions") - 1)
