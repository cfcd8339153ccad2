"""Connections with a limit on the client's side: a server that is stopped sends nothing, not even an error.

TCP's own time-outs do not help: the kernel of a stopped server acknowledges what it receives.
"""

import threading
from types import SimpleNamespace
from typing import Any

import psycopg
from psycopg.abc import PQGen
from psycopg.errors import ConnectionTimeout, _WaitTimeout

_probe = threading.Lock()
_silent = threading.Event()  # the server has answered nothing; one connection at a time finds out whether it does again


class Connection(psycopg.Connection[Any]):
    """Gives itself up where a statement gets no answer in time.

    Attributes:
        limit_s: for any one statement; None for none.
    """

    limit_s: float | None = None

    def wait(self, gen: PQGen[Any], interval: float = 0.1, timeout: float | None = None) -> Any:
        """Wait for the server.

        Raises:
            OperationalError: there was no answer within `limit_s`; the connection is closed then.
        """
        if timeout is not None or self.limit_s is None:
            return super().wait(gen, interval, timeout)
        try:
            return super().wait(gen, interval, self.limit_s)
        except _WaitTimeout as e:
            _silent.set()
            self.close()
            raise psycopg.OperationalError(f"The server has not answered for {self.limit_s:g} seconds.") from e


def connect(*args: Any, **kwargs: Any) -> Connection:
    """Connect; while the server is known to be silent, one thread at a time tries and the others fail at once.

    Raises:
        OperationalError: there is no connection to be had.
    """
    if not _silent.is_set():
        return _connect(*args, **kwargs)
    if not _probe.acquire(blocking=False):
        raise psycopg.OperationalError("The server does not answer.")
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


# What Django takes for the driver: its errors, and our way to connect.
DRIVER = SimpleNamespace(**{**vars(psycopg), "connect": connect})
