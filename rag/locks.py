"""PostgreSQL's advisory locks: a worker that dies loses its connection, and so its locks, within moments.

They belong to the session: a pooler in front of PostgreSQL must pool sessions, not transactions.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import Error, connection

Key = dict[str, str | int]


@contextmanager
def held(subject: str, number: int) -> Iterator[bool]:
    """Try for a lock and hold it for the block; whether it was free.

    Args:
        subject, number: what it stands for, such as `rag.repository` and an id.
    """
    key: Key = {"subject": subject, "number": number % 2**31}
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(hashtext(%(subject)s), %(number)s)", key)
        mine = bool(cursor.fetchone()[0])
    try:
        yield mine
    finally:
        if mine:
            _release(key)


def _release(key: Key) -> None:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_unlock(hashtext(%(subject)s), %(number)s)", key)
    except Error:
        connection.close()  # and with it the lock
