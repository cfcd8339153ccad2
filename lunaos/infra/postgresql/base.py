"""Django's backend for servers that restart, hang, fill up or refuse writes."""

# Every outage raises OperationalError, on which callers wait or answer 503.

import select
import time
from functools import cached_property
from types import TracebackType
from typing import Any

from django.conf import settings
from django.db import OperationalError
from django.db.backends.postgresql import base
from django.db.utils import DatabaseErrorWrapper
from psycopg import errors

from lunaos.infra.postgresql import connections, limits

# Django raises InternalError for these, which would look like a programming error. Other outages are OperationalError:
# 53xxx (disk full, too many connections), 57P0x (shutting down), 57014 (cancelled), 55P03 (lock not available).
OUTAGES = (
    errors.ReadOnlySqlTransaction,  # 25006
    errors.IdleInTransactionSessionTimeout,  # 25P03
)
REFUSES_WRITES = (errors.ReadOnlySqlTransaction, errors.DiskFull)
# A server whose machine vanished is noticed after 30 s instead of two hours; without effect on a Unix socket.
KEEPALIVES = {"keepalives_idle": 15, "keepalives_interval": 5, "keepalives_count": 3}

_write_refused_at = float("-inf")


def writes_refused_within(seconds: float) -> bool:
    """Return whether the server refused a write of this process so recently."""
    return time.monotonic() - _write_refused_at < seconds


class ErrorWrapper(DatabaseErrorWrapper):
    """Translates the driver's errors into Django's, and outages into OperationalError."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        global _write_refused_at
        if isinstance(error, REFUSES_WRITES):
            _write_refused_at = time.monotonic()
        if isinstance(error, OUTAGES):
            self.wrapper.errors_occurred = True  # type: ignore[attr-defined]
            raise OperationalError(*error.args).with_traceback(traceback) from error
        super().__exit__(kind, error, traceback)


class DatabaseWrapper(base.DatabaseWrapper):
    """Reconnects when a restarted server has closed a kept connection."""

    Database = connections.DRIVER  # type: ignore[assignment]

    @cached_property
    def wrap_database_errors(self) -> ErrorWrapper:
        return ErrorWrapper(self)

    def get_connection_params(self) -> dict[str, Any]:
        ours = {"connect_timeout": settings.DATABASE_CONNECT_TIMEOUT_S, **KEEPALIVES}
        # Parameters in DATABASE_URL take precedence.
        return ours | super().get_connection_params()

    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        connection = super().get_new_connection(conn_params)
        connection.limit_s = limits.of_process().client_s
        return connection

    def init_connection_state(self) -> None:
        super().init_connection_state()
        if limits.of_process() != limits.NONE:
            with self.connection.cursor() as cursor:
                cursor.execute(limits.SET, limits.of_process().parameters(local=False))

    def ensure_connection(self) -> None:
        if self.connection is not None and not self.in_atomic_block and self._hung_up():
            self.close()
        super().ensure_connection()

    def close_if_unusable_or_obsolete(self) -> None:
        # Django's version would connect to find out, outside its own error handling.
        if self.connection is not None and not self.in_atomic_block and self._hung_up():
            self.close()
        super().close_if_unusable_or_obsolete()

    def _hung_up(self) -> bool:
        # An idle connection becomes readable when the server closes it.
        if self.connection.closed:
            return True
        poll = select.poll()
        poll.register(self.connection.fileno(), select.POLLIN)
        return bool(poll.poll(0))
