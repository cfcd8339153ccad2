"""Blocks that depend on one PostgreSQL session, since advisory locks end with it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from django.db import Error, OperationalError, connection


@contextmanager
def bound_to(session: object, *, release: Callable[[], None]) -> Iterator[None]:
    """Raise OperationalError in the block once the connection has changed."""
    try:
        with connection.execute_wrapper(_guard(session)):
            yield
    finally:
        if connection.connection is session:
            _release(release)


def _guard(session: object) -> Callable[..., Any]:
    def execute(execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: Any) -> Any:
        if connection.connection is not session:
            raise OperationalError("The database connection was lost, and with it the lock.")
        return execute(sql, params, many, context)

    return execute


def _release(release: Callable[[], None]) -> None:
    try:
        release()
    except Error:
        connection.close()  # releases the lock
