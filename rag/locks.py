"""PostgreSQL's advisory locks: a worker that dies loses its connection, and so its locks, within moments.

They belong to the session: a pooler in front of PostgreSQL must pool sessions, not transactions.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from django.db import Error, OperationalError, connection

Key = dict[str, str | int]

# Of a holder whose machine has gone without a word PostgreSQL would hear after two hours; so within half a minute.
TAKE = """
    SELECT pg_try_advisory_lock(hashtext(%(subject)s), %(number)s),
        set_config('tcp_keepalives_idle', '15', false), set_config('tcp_keepalives_interval', '5', false),
        set_config('tcp_keepalives_count', '3', false)
"""


@contextmanager
def held(subject: str, number: int) -> Iterator[bool]:
    """Try for a lock and hold it for the block; whether it was free.

    A connection that is lost takes the lock along, and its successor has none: the block's statements are refused then.

    Args:
        subject, number: what it stands for, such as `rag.repository` and an id.

    Raises:
        OperationalError: the lock was lost with its connection.
    """
    key: Key = {"subject": subject, "number": number % 2**31}
    with connection.cursor() as cursor:
        cursor.execute(TAKE, key)
        mine = bool(cursor.fetchone()[0])
    if not mine:
        yield False
        return
    session = connection.connection
    try:
        with connection.execute_wrapper(_only_on(session)):
            yield True
    finally:
        if connection.connection is session:
            _release(key)


def _only_on(session: object) -> Callable[..., Any]:
    def execute(execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: Any) -> Any:
        if connection.connection is not session:
            raise OperationalError("The connection was lost, and with it the lock.")
        return execute(sql, params, many, context)

    return execute


def _release(key: Key) -> None:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_unlock(hashtext(%(subject)s), %(number)s)", key)
    except Error:
        connection.close()  # and with it the lock
