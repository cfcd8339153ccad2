"""One at a time for each customer: whoever is to fetch from Stripe and store holds the lock before it fetches.

Otherwise the slower of two fetches wins, which is the older state (docs/adr/0021). They are advisory locks of
PostgreSQL's: the same connection may take one twice, others wait.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from django.db import OperationalError, connection
from psycopg.errors import LockNotAvailable

from billing.errors import BillingConflict
from lunaos.infra.postgresql import limits, sessions

PATIENT_S, HURRIED_S = 20.0, 5.0  # a double click waits for the first one's few requests to Stripe
KEY = "hashtextextended(%s, 0)"


def hold(subject: str, *, hurried: bool = False) -> None:
    """Hold a lock until the transaction under way ends.

    Args:
        subject: a customer's id, or a user's while there is none.
        hurried: a person waits.

    Raises:
        BillingConflict: a person waits, and somebody else held it for too long.
        OperationalError: the same where nobody waits.
    """
    patience_s = HURRIED_S if hurried else PATIENT_S
    with _told(hurried), limits.waiting(patience_s), connection.cursor() as cursor:
        cursor.execute(f"SELECT pg_advisory_xact_lock({KEY})", [_name(subject)])


@contextmanager
def held(subject: str) -> Iterator[None]:
    """Hold a lock for the block, over as many transactions as it has; a person waits.

    A connection that is lost takes the lock along: the block's statements are refused then.

    Raises:
        BillingConflict: somebody else held it for too long.
        OperationalError: it was lost with its connection.
    """
    with _told(hurried=True), limits.waiting(HURRIED_S), connection.cursor() as cursor:
        cursor.execute(f"SELECT pg_advisory_lock({KEY})", [_name(subject)])
        session = connection.connection
    with sessions.bound_to(session, release=partial(_release, subject)):
        yield


@contextmanager
def _told(hurried: bool) -> Iterator[None]:
    """Whoever waits in person is told that it is their own other request, and no outage."""
    try:
        yield
    except OperationalError as e:
        if hurried and isinstance(e.__cause__, LockNotAvailable):
            raise BillingConflict("Another request about your subscription is under way. Try again shortly.") from e
        raise


def _release(subject: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT pg_advisory_unlock({KEY})", [_name(subject)])


def _name(subject: str) -> str:
    return f"billing {subject}"
