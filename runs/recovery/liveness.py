"""An advisory lock that each process holds in a session of its own.

PostgreSQL frees the lock with the session, so a run whose executor has died ends sooner than that of a silent one.
"""

import secrets
import threading
from typing import Any

from django.db import connection

PROCESS_NUMBER = secrets.randbelow(2**31 - 1) + 1  # random for each start of the process
LOCK_SPACE = 0x4C554E41  # "LUNA": the first half of the locks' keys
TAKE_LOCK = """
    SELECT pg_try_advisory_lock(%s, %s), set_config('tcp_keepalives_idle', '15', false),
        set_config('tcp_keepalives_interval', '5', false), set_config('tcp_keepalives_count', '3', false)
"""
# A condition on a row of runs_run. PostgreSQL has no locks after its start: processes get 20 s to take them again.
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
    """Hold this process's lock, and take it again after a lost connection."""
    # No statement is sent while the connection lasts.
    global _session, _locked_connection
    with _lock:
        if _session is None:
            _session = connection.copy()
            _session.inc_thread_sharing()
        with _session.cursor() as cursor:
            if _locked_connection is not _session.connection:
                taken = cursor.execute(TAKE_LOCK, [LOCK_SPACE, PROCESS_NUMBER]).fetchone()[0]
                _locked_connection = _session.connection if taken else None
