"""Real checks of the parts the platform stands on: side by side, each with a time limit."""

import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any

from django.db import InterfaceError, OperationalError, connection

LIMIT_S = 1.0
WAITING = """
    SELECT 'chains', count(*), COALESCE(EXTRACT(EPOCH FROM now() - min(heartbeat_at)), 0)::float
    FROM runs_run WHERE status = 'queued'
    UNION ALL
    SELECT 'indexing', count(*), COALESCE(EXTRACT(EPOCH FROM now() - min(created_at)), 0)::float
    FROM rag_indexjob WHERE status = 'queued'
"""
# Of index jobs: all that have not ended, the bytes of their files, and for how long an owner waits of whose jobs no
# worker has begun any. A job of an owner with a backlog may wait for an hour; an owner is due within seconds.
INDEXING = """
    SELECT (SELECT count(*) FROM rag_indexjob WHERE status IN ('queued', 'running')),
        (SELECT COALESCE(sum(bytes), 0)::bigint FROM rag_upload),
        COALESCE(EXTRACT(EPOCH FROM now() - min(oldest)), 0)::float
    FROM (
        SELECT min(job.created_at) AS oldest
        FROM rag_indexjob job JOIN rag_repository repository ON repository.id = job.repository_id
        WHERE job.status IN ('queued', 'running')
        GROUP BY repository.user_id HAVING bool_and(job.status = 'queued')
    ) AS unserved
"""
Check = Callable[[], dict[str, Any] | None]

# More threads than checks that come together: what hangs holds up few others, and the time limit still answers.
_pool = ThreadPoolExecutor(max_workers=12, thread_name_prefix="parts")


class Degraded(Exception):
    """The part answers, but not as it should; its text is shown, and what else there is to say."""

    def __init__(self, detail: str, figures: dict[str, Any] | None = None) -> None:
        super().__init__(detail)
        self.figures = figures or {}


def examine(checks: Mapping[str, Check]) -> dict[str, dict[str, Any]]:
    """Do checks at the same time.

    Args:
        checks: each returns further figures, or raises: `Degraded`, or whatever a driver does.

    Returns:
        `status` (ok, degraded, down), `latencyMs`, perhaps `detail`, and the figures, for each check.
    """
    futures = {name: _pool.submit(_measure, check) for name, check in checks.items()}
    wait(futures.values(), timeout=LIMIT_S)
    return {name: _result(future) for name, future in futures.items()}


def waiting() -> dict[str, tuple[int, float]]:
    """How many chains and index jobs no worker has taken yet, and how many seconds the oldest of them has waited."""
    return {queue: (length, oldest_s) for queue, length, oldest_s in query(WAITING)}


def indexing() -> tuple[int, int, float]:
    """Unfinished index jobs, the bytes of their files, and the seconds that an owner has waited for a first turn."""
    [(unfinished, size, unserved_s)] = query(INDEXING)
    return unfinished, size, unserved_s


def query(sql: str) -> Any:
    """All rows, over the thread's kept connection; one gone stale with the server's restart gets a second chance."""
    try:
        return _fetch(sql)
    except (OperationalError, InterfaceError):
        connection.close()
        return _fetch(sql)


def _fetch(sql: str) -> Any:
    with connection.cursor() as cursor:
        return cursor.execute(sql).fetchall()


def _measure(check: Check) -> dict[str, Any]:
    started, status, detail = time.perf_counter(), "ok", dict[str, Any]()
    try:
        detail = check() or {}
    except Degraded as e:
        status, detail = "degraded", {"detail": str(e), **e.figures}
    except Exception as e:  # whatever a driver raises; only the kind is shown, its text may name hosts
        status, detail = "down", {"detail": type(e).__name__}
    return {"status": status, "latencyMs": round((time.perf_counter() - started) * 1000, 1), **detail}


def _result(future: Future[dict[str, Any]]) -> dict[str, Any]:
    if future.done():
        return future.result()
    future.cancel()
    return {"status": "down", "latencyMs": LIMIT_S * 1000, "detail": "timeout"}
