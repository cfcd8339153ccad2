"""PostgreSQL's advisory locks: a worker that dies loses its connection and so its locks.

The locks belong to the session: a pooler in front of PostgreSQL must pool sessions, not transactions.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from django.db import connection

from lunaos.infra.postgresql import sessions

Key = dict[str, str | int]

# Keepalives: PostgreSQL notices within half a minute that the holder's machine is gone, instead of two hours.
TRY_LOCK = """
    SELECT pg_try_advisory_lock(hashtext(%(subject)s), %(number)s),
        set_config('tcp_keepalives_idle', '15', false), set_config('tcp_keepalives_interval', '5', false),
        set_config('tcp_keepalives_count', '3', false)
"""


@contextmanager
def try_lock(subject: str, number: int) -> Iterator[bool]:
    """Try to acquire a lock for the block, without waiting.

    A lost connection loses the lock, and the next connection of the thread does not have it: the block's further
    statements are refused.

    Args:
        subject: kind of object, such as `rag.repository`.
        number: id of the object.

    Yields:
        Whether the lock was acquired.

    Raises:
        OperationalError: the lock was lost with its connection.
    """
    key: Key = {"subject": subject, "number": number % 2**31}
    with connection.cursor() as cursor:
        cursor.execute(TRY_LOCK, key)
        acquired = bool(cursor.fetchone()[0])
    if not acquired:
        yield False
        return
    with sessions.only_on(connection.connection, release=partial(_release, key)):
        yield True


def _release(key: Key) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_unlock(hashtext(%(subject)s), %(number)s)", key)
