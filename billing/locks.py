"""One at a time for each customer: whoever is to fetch from Stripe and store holds the lock before it fetches.

Otherwise the slower of two fetches wins, which is the older state (docs/adr/0021).
"""

from django.db import connection

PATIENT_S, HURRIED_S = 20.0, 1.5


def hold(subject: str, *, hurried: bool = False) -> None:
    """Hold a lock until the transaction under way ends.

    Args:
        subject: a customer's id, or a user's while there is none.
        hurried: a person waits.

    Raises:
        OperationalError: somebody else held it for too long.
    """
    patience_ms = 1000 * (HURRIED_S if hurried else PATIENT_S)
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config('lock_timeout', %s, true)", [f"{patience_ms:.0f}ms"])
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [f"billing {subject}"])
        cursor.execute("SELECT set_config('lock_timeout', '0', true)")
