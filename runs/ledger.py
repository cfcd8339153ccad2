"""Compare the runs, the ledger of executions, with the quota counters."""

from dataclasses import dataclass
from datetime import date
from uuid import UUID

from django.db import connection

# One statement, hence one snapshot: run and counter are written together (services.CREATE_RUN, outcomes.finish).
MISMATCHES = """
    SELECT user_id, month, COALESCE(counted.executions, 0), COALESCE(counted.chains, 0),
        COALESCE(charged.executions, 0), COALESCE(charged.chains, 0)
    FROM billing_monthlyusage AS counted
    FULL JOIN (
        SELECT user_id, charged_month AS month, count(*) AS executions, count(*) FILTER (WHERE chain <> '') AS chains
        FROM runs_run WHERE charge IN ('reserved', 'settled') GROUP BY user_id, charged_month
    ) AS charged USING (user_id, month)
    WHERE (COALESCE(counted.executions, 0), COALESCE(counted.chains, 0))
        <> (COALESCE(charged.executions, 0), COALESCE(charged.chains, 0))
    ORDER BY month, user_id
"""


@dataclass(frozen=True, slots=True)
class QuotaMismatch:
    user_id: UUID
    month: date
    counted: int  # executions by the counter, chains included
    counted_chains: int
    charged: int  # executions by the runs, reserved and settled
    charged_chains: int


def find_mismatches() -> list[QuotaMismatch]:
    """Return all months whose counter and runs differ."""
    # There are none unless rows were changed by hand.
    with connection.cursor() as cursor:
        cursor.execute(MISMATCHES)
        return [QuotaMismatch(*row) for row in cursor.fetchall()]
