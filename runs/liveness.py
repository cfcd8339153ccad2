"""A sign that a process lives: an advisory lock of a session of its own, which PostgreSQL releases with the process.

A run's row names the process that executes it (`Run.executor`). Where heartbeats stop and the lock is free as well, the
process has died, and its runs need not be waited for as long as those of one that is only silent.
"""

import secrets
import threading
from typing import Any

from django.db import connection

PROCESS_NUMBER = secrets.randbelow(2**31 - 1) + 1  # of this process, since it started
LOCK_SPACE = 0x4C554E41  # "LUNA": the first half of the locks' keys
TAKE_LOCK = """
    SELECT pg_try_advisory_lock(%s, %s), set_config('tcp_keepalives_idle', '15', false),
        set_config('tcp_keepalives_interval', '5', false), set_config('tcp_keepalives_count', '3', false)
"""
# Of a row of runs_run. After its start PostgreSQL has no locks; processes get their time to take them again.
EXECUTOR_IS_DEAD = f"""
    runs_run.executor IS NOT NULL AND pg_postmaster_start_time() < now() - interval '20 seconds' AND NOT EXISTS (
        SELECT FROM pg_locks WHERE locktype = 'advisory' AND granted AND classid = {LOCK_SPACE}
            AND objid = runs_run.executor
            AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))
"""  # noqa: S608 - constants

_lock = threading.Lock()
_session: Any = None
_locked_connection: object = None


def hold_lock() -> None:
    """Hold this process's lock, again where its connection was lost; a statement only where it has to be taken.

    Raises:
        OperationalError, InterfaceError: the database is away.
    """
    global _session, _locked_connection
    with _lock:
        if _session is None:
            _session = connection.copy()
            _session.inc_thread_sharing()
        with _session.cursor() as cursor:
            if _locked_connection is not _session.connection:
                taken = cursor.execute(TAKE_LOCK, [LOCK_SPACE, PROCESS_NUMBER]).fetchone()[0]
                _locked_connection = _session.connection if taken else None
