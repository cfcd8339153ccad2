"""Database connections with a time limit on the client's side."""

import threading
from types import SimpleNamespace
from typing import Any

import psycopg
from psycopg.abc import PQGen
from psycopg.errors import ConnectionTimeout, _WaitTimeout

# A stopped server sends nothing, not even an error, and its kernel still acknowledges packets, so TCP's time-outs do
# not help.
_probe = threading.Lock()
_silent = threading.Event()  # set while the server does not answer; then one connection at a time tests it


class Connection(psycopg.Connection[Any]):
    """A connection that closes itself without an answer within `limit_s` seconds."""

    limit_s: float | None = None

    def wait(self, gen: PQGen[Any], interval: float = 0.1, timeout: float | None = None) -> Any:
        if timeout is not None or self.limit_s is None:
            return super().wait(gen, interval, timeout)
        try:
            return super().wait(gen, interval, self.limit_s)
        except _WaitTimeout as e:
            _silent.set()
            self.close()
            raise psycopg.OperationalError(f"The database server has not answered for {self.limit_s:g} seconds.") from e


def connect(*args: Any, **kwargs: Any) -> Connection:
    """Connect; fail at once while the server does not answer and another thread tries."""
    if not _silent.is_set():
        return _connect(*args, **kwargs)
    if not _probe.acquire(blocking=False):
        raise psycopg.OperationalError("The database server does not answer.")
    try:
        return _connect(*args, **kwargs)
    finally:
        _probe.release()


def _connect(*args: Any, **kwargs: Any) -> Connection:
    try:
        connection = Connection.connect(*args, **kwargs)
    except ConnectionTimeout:
        _silent.set()
        raise
    _silent.clear()
    return connection


# The module that Django uses as its driver: psycopg's errors with the `connect` above.
DRIVER = SimpleNamespace(**{**vars(psycopg), "connect": connect})
