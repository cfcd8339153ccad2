"""Locks per customer, held from the fetch at Stripe until its result is stored."""

# Without the lock the slower of two fetches would win, which may hold the older state (docs/adr/0021). The locks are
# advisory locks of PostgreSQL: the same connection may take one twice, others wait.

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from django.db import OperationalError, connection
from psycopg.errors import LockNotAvailable

from billing.errors import BillingConflict
from lunaos.infra.postgresql import limits, sessions

LONG_WAIT_S, SHORT_WAIT_S = 20.0, 5.0  # seconds; a double click waits for the first click's few requests to Stripe
LOCK_KEY_SQL = "hashtextextended(%s, 0)"


def lock_until_commit(subject: str, *, short_wait: bool = False) -> None:
    """Hold a customer's lock (or of a user without a customer) until the transaction ends.

    Raises BillingConflict after SHORT_WAIT_S with `short_wait`, else OperationalError after LONG_WAIT_S.
    """
    wait_s = SHORT_WAIT_S if short_wait else LONG_WAIT_S
    with _translate_lock_timeout(short_wait), limits.waiting(wait_s), connection.cursor() as cursor:
        cursor.execute(f"SELECT pg_advisory_xact_lock({LOCK_KEY_SQL})", [_lock_name(subject)])


@contextmanager
def locked(subject: str) -> Iterator[None]:
    """Hold a customer's lock for the block, across transactions, in a user's request.

    Raises:
        BillingConflict: another request held the lock for longer than SHORT_WAIT_S.
        OperationalError: the connection was lost, and the lock with it; the next statements are refused.
    """
    with _translate_lock_timeout(short_wait=True), limits.waiting(SHORT_WAIT_S), connection.cursor() as cursor:
        cursor.execute(f"SELECT pg_advisory_lock({LOCK_KEY_SQL})", [_lock_name(subject)])
        session = connection.connection
    with sessions.bound_to(session, release=partial(_release, subject)):
        yield


@contextmanager
def _translate_lock_timeout(short_wait: bool) -> Iterator[None]:
    # Report a lock time-out in a user's request as a conflict, not as an outage.
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
