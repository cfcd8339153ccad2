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

LONG_WAIT_S, SHORT_WAIT_S = 20.0, 5.0  # a double click waits for the first one's few requests to Stripe
LOCK_KEY_SQL = "hashtextextended(%s, 0)"


def lock_until_commit(subject: str, *, short_wait: bool = False) -> None:
    """Hold a lock until the transaction under way ends.

    Args:
        subject: a customer's id, or a user's while there is none.
        short_wait: a person waits.

    Raises:
        BillingConflict: a person waits, and somebody else held it for too long.
        OperationalError: the same where nobody waits.
    """
    wait_s = SHORT_WAIT_S if short_wait else LONG_WAIT_S
    with _translate_lock_timeout(short_wait), limits.waiting(wait_s), connection.cursor() as cursor:
        cursor.execute(f"SELECT pg_advisory_xact_lock({LOCK_KEY_SQL})", [_lock_name(subject)])


@contextmanager
def locked(subject: str) -> Iterator[None]:
    """Hold a lock for the block, over as many transactions as it has; a person waits.

    A connection that is lost takes the lock along: the block's statements are refused then.

    Raises:
        BillingConflict: somebody else held it for too long.
        OperationalError: it was lost with its connection.
    """
    with _translate_lock_timeout(short_wait=True), limits.waiting(SHORT_WAIT_S), connection.cursor() as cursor:
        cursor.execute(f"SELECT pg_advisory_lock({LOCK_KEY_SQL})", [_lock_name(subject)])
        session = connection.connection
    with sessions.only_on(session, release=partial(_release, subject)):
        yield


@contextmanager
def _translate_lock_timeout(short_wait: bool) -> Iterator[None]:
    """Whoever waits in person is told that it is their own other request, and no outage."""
    try:
        yield
    except OperationalError as e:
        if short_wait and isinstance(e.__cause__, LockNotAvailable):
            raise BillingConflict("Another request about your subscription is under way. Try again shortly.") from e
        raise


def _release(subject: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT pg_advisory_unlock({LOCK_KEY_SQL})", [_lock_name(subject)])


def _lock_name(subject: str) -> str:
    return f"billing {subject}"
