"""What belongs to a session of PostgreSQL's, as an advisory lock does, is lost with its connection."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from django.db import Error, OperationalError, connection


@contextmanager
def only_on(session: object, *, release: Callable[[], None]) -> Iterator[None]:
    """Refuse the block's statements once the connection is another one: it has no lock, and its successor may.

    Args:
        session: `connection.connection` of the statement that took the lock.
        release: gives the lock back; left out where it is gone already.

    Raises:
        OperationalError: the lock was lost with its connection.
    """
    try:
        with connection.execute_wrapper(_guard(session)):
            yield
    finally:
        if connection.connection is session:
            _release(release)


def _guard(session: object) -> Callable[..., Any]:
    def execute(execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: Any) -> Any:
        if connection.connection is not session:
            raise OperationalError("The connection was lost, and with it the lock.")
        return execute(sql, params, many, context)

    return execute


def _release(release: Callable[[], None]) -> None:
    try:
        release()
    except Error:
        connection.close()  # and with it the lock
