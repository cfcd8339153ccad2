"""PostgreSQL's advisory locks: a worker that dies loses its connection, and so its locks, within moments.

They belong to the session: a pooler in front of PostgreSQL must pool sessions, not transactions.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from django.db import connection

from lunaos.infra.postgresql import sessions

Key = dict[str, str | int]

# Of a holder whose machine has gone without a word PostgreSQL would hear after two hours; so within half a minute.
TRY_LOCK = """
    SELECT pg_try_advisory_lock(hashtext(%(subject)s), %(number)s),
        set_config('tcp_keepalives_idle', '15', false), set_config('tcp_keepalives_interval', '5', false),
        set_config('tcp_keepalives_count', '3', false)
"""


@contextmanager
def try_lock(subject: str, number: int) -> Iterator[bool]:
    """Try for a lock and hold it for the block; whether it was free.

    A connection that is lost takes the lock along, and its successor has none: the block's statements are refused then.

    Args:
        subject, number: what it stands for, such as `rag.repository` and an id.

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
