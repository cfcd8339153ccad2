"""How long a lock and a statement may take: by the kind of process, and longer for single blocks.

PostgreSQL keeps these limits. A server that is stopped keeps none, so the client has a limit of its own
(`lunaos.infra.postgresql.connections`), a little longer than the server's.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.db import Error, connection

MARGIN_S = 2.0  # what the client waits beyond the server's limit
SET = "SELECT set_config('lock_timeout', %s, %s), set_config('statement_timeout', %s, %s)"


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds; 0 for no limit.

    Args:
        lock_s: for any one lock.
        statement_s: for a statement, its locks included.
    """

    lock_s: float = 0.0
    statement_s: float = 0.0

    @property
    def client_s(self) -> float | None:
        """Return the seconds after which the client gives a connection up; None for never."""
        return self.statement_s + MARGIN_S if self.statement_s else None

    def parameters(self, *, local: bool) -> list[Any]:
        """Return the parameters of SET.

        Args:
            local: for the transaction under way only.
        """
        return [f"{1000 * self.lock_s:.0f}ms", local, f"{1000 * self.statement_s:.0f}ms", local]


NONE = Limits()  # of management commands: migrations, backups, reindexing
_of_process = NONE


def web() -> Limits:
    """Return the limits of a process that answers requests."""
    return Limits(settings.DATABASE_LOCK_TIMEOUT_S, settings.DATABASE_STATEMENT_TIMEOUT_S)


def long() -> Limits:
    """Return the limits of workers and exports, whose statements may be long but end some time."""
    return Limits(settings.DATABASE_LONG_LOCK_TIMEOUT_S, settings.DATABASE_LONG_STATEMENT_TIMEOUT_S)


def use(limits: Limits) -> None:
    """Set this process's limits; connections made from now on have them."""
    global _of_process
    _of_process = limits


def of_process() -> Limits:
    """Return this process's limits."""
    return _of_process


@contextmanager
def waiting(lock_s: float) -> Iterator[None]:
    """Wait for the block's locks for so long, also where the process's statements may not take that long."""
    statement_s = _of_process.statement_s
    with within(Limits(lock_s, max(statement_s, lock_s + MARGIN_S) if statement_s else 0.0)):
        yield


@contextmanager
def within(limits: Limits) -> Iterator[None]:
    """Have the block's statements keep other limits than the process's; two statements more.

    In a transaction that fails PostgreSQL itself takes the limits back.
    """
    local = connection.in_atomic_block
    _set(limits, local=local)
    session = connection.connection
    try:
        yield
    except BaseException:
        if not local:
            _restore(session)
        raise
    else:
        _restore(session, local=local)
    finally:
        if session is not None:
            session.limit_s = _of_process.client_s


def _set(limits: Limits, *, local: bool) -> None:
    with connection.cursor() as cursor:
        cursor.execute(SET, limits.parameters(local=local))
    connection.connection.limit_s = limits.client_s


def _restore(session: object, *, local: bool = False) -> None:
    """Set the process's limits again; a connection that cannot is closed, and its successor has them from the start."""
    if connection.connection is not session:
        return
    try:
        with connection.cursor() as cursor:
            cursor.execute(SET, _of_process.parameters(local=local))
    except Error:
        if local:
            raise
        connection.close()
