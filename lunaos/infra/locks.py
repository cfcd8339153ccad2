"""PostgreSQL's advisory locks, which a worker that dies loses with its connection."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from django.db import connection

from lunaos.infra.postgresql import sessions

# A lock belongs to a database session: a pooler in front of PostgreSQL must pool sessions, not transactions.
Key = dict[str, str | int]

# Without keepalives PostgreSQL notices a holder whose machine vanished after two hours; with these, after 30 s.
TRY_LOCK = """
    SELECT pg_try_advisory_lock(hashtext(%(subject)s), %(number)s),
        set_config('tcp_keepalives_idle', '15', false), set_config('tcp_keepalives_interval', '5', false),
        set_config('tcp_keepalives_count', '3', false)
"""


@contextmanager
def try_lock(subject: str, number: int) -> Iterator[bool]:
    """Hold an advisory lock for the block if it is free; yield whether it was."""
    key: Key = {"subject": subject, "number": number % 2**31}
    with connection.cursor() as cursor:
        cursor.execute(TRY_LOCK, key)
        acquired = bool(cursor.fetchone()[0])
    if not acquired:
        yield False
        return
    # If the connection is lost, so is the lock: further statements of the block raise OperationalError.
    with sessions.bound_to(connection.connection, release=partial(_release, key)):
        yield True


def _release(key: Key) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_unlock(hashtext(%(subject)s), %(number)s)", key)
