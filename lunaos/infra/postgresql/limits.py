"""Time limits of locks and statements, by process and for single blocks."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.db import Error, connection

# PostgreSQL enforces these limits. A stopped server enforces nothing, so the client has a slightly longer limit.
MARGIN_S = 2.0  # the client's limit is longer than the server's by this
SET = "SELECT set_config('lock_timeout', %s, %s), set_config('statement_timeout', %s, %s)"


@dataclass(frozen=True, slots=True)
class Limits:
    # Seconds of waiting for one lock, and of a statement with its locks; 0 for no limit.
    lock_s: float = 0.0
    statement_s: float = 0.0

    @property
    def client_s(self) -> float | None:
        """Return the seconds after which the client closes a connection; None for never."""
        return self.statement_s + MARGIN_S if self.statement_s else None

    def parameters(self, *, local: bool) -> list[Any]:
        """Return the parameters of SET, for the session or the current transaction only."""
        return [f"{1000 * self.lock_s:.0f}ms", local, f"{1000 * self.statement_s:.0f}ms", local]


NONE = Limits()  # management commands: migrations, backups, reindexing
_of_process = NONE


def web() -> Limits:
    return Limits(settings.DATABASE_LOCK_TIMEOUT_S, settings.DATABASE_STATEMENT_TIMEOUT_S)


def long() -> Limits:
    """Return the limits of workers and exports, whose statements may be long."""
    return Limits(settings.DATABASE_LONG_LOCK_TIMEOUT_S, settings.DATABASE_LONG_STATEMENT_TIMEOUT_S)


def use(limits: Limits) -> None:
    """Set the limits of this process, for connections made from now on."""
    global _of_process
    _of_process = limits


def of_process() -> Limits:
    return _of_process


@contextmanager
def waiting(lock_s: float) -> Iterator[None]:
    """Let the block wait `lock_s` for each lock, even beyond the limit of statements."""
    statement_s = _of_process.statement_s
    with within(Limits(lock_s, max(statement_s, lock_s + MARGIN_S) if statement_s else 0.0)):
        yield


@contextmanager
def within(limits: Limits) -> Iterator[None]:
    """Apply other limits to the statements of a block; costs two statements."""
    local = connection.in_atomic_block
    _set(limits, local=local)
    session = connection.connection
    try:
        yield
    # In a failed transaction PostgreSQL itself restores the limits.
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
    if connection.connection is not session:
        return
    try:
        with connection.cursor() as cursor:
            cursor.execute(SET, _of_process.parameters(local=local))
    except Error:
        if local:
            raise
        # The next connection starts with the limits of the process.
        connection.close()
