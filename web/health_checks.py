"""Runner of health checks: concurrent, each with a time limit.

A part has at most one check running, in its own thread, and a result serves all requests for RESULT_TTL_S.
"""

import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from django.db import InterfaceError, OperationalError, connection

CHECK_TIMEOUT_S = 1.0
RESULT_TTL_S = 1.0
QUEUE_BACKLOGS = """
    SELECT 'chains', count(*), COALESCE(EXTRACT(EPOCH FROM now() - min(heartbeat_at)), 0)::float
    FROM runs_run WHERE status = 'queued'
    UNION ALL
    SELECT 'indexing', count(*), COALESCE(EXTRACT(EPOCH FROM now() - min(created_at)), 0)::float
    FROM rag_indexjob WHERE status = 'queued'
"""
# Unfinished index jobs, the bytes of their files, and the longest wait of an owner without a started job. A job of an
# owner with a backlog may wait for an hour; an owner's first job starts within seconds.
INDEXING_BACKLOG = """
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


class Degraded(Exception):
    """The part answers, but not as expected; text and figures are shown."""

    def __init__(self, detail: str, figures: dict[str, Any] | None = None) -> None:
        super().__init__(detail)
        self.figures = figures or {}


class _CheckRunner:
    def __init__(self, check: Check) -> None:
        self._check = check
        # In its own thread, so that a hanging check delays no other.
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="part")
        self._lock = threading.Lock()
        self._answer: Future[dict[str, Any]] | None = None
        self._began = self._ended = 0.0

    def begin(self) -> None:
        """Start the check unless it runs or its result is fresh."""
        with self._lock:
            if self._answer is None or (self._answer.done() and not self._is_good()):
                self._began = time.monotonic()
                self._answer = self._thread.submit(self._measure)

    def result(self) -> dict[str, Any]:
        """Return the result, or a timeout CHECK_TIMEOUT_S after the check's start."""
        with self._lock:
            answer, left_s = self._answer, self._began + CHECK_TIMEOUT_S - time.monotonic()
        try:
            return dict(answer.result(timeout=max(0.0, left_s))) if answer else {}
        except TimeoutError:
            return {"status": "down", "latencyMs": CHECK_TIMEOUT_S * 1000, "detail": "timeout"}

    def _is_good(self) -> bool:
        # A late result was reported as a timeout already, so the part is checked again at once.
        return self._ended - self._began <= CHECK_TIMEOUT_S and time.monotonic() - self._ended <= RESULT_TTL_S

    def _measure(self) -> dict[str, Any]:
        try:
            return _measure(self._check)
        finally:
            self._ended = time.monotonic()


_runners: dict[Check, _CheckRunner] = {}
_runners_lock = threading.Lock()


def run_checks(checks: Mapping[str, Check]) -> dict[str, dict[str, Any]]:
    """Run checks concurrently, except those with a result younger than RESULT_TTL_S.

    Args:
        checks: each returns figures, or raises `Degraded` or an exception of a driver.

    Returns:
        `status` (ok, degraded, down), `latencyMs`, perhaps `detail`, and the figures, for each check.
    """
    found = {name: _runner(check) for name, check in checks.items()}
    for part in found.values():
        part.begin()
    return {name: part.result() for name, part in found.items()}


def _runner(check: Check) -> _CheckRunner:
    with _runners_lock:
        if check not in _runners:
            _runners[check] = _CheckRunner(check)
        return _runners[check]


def clear_results() -> None:
    """Drop all results, for tests that change what is checked."""
    with _runners_lock:
        _runners.clear()


def queue_backlogs() -> dict[str, tuple[int, float]]:
    """Return per queue the waiting jobs, and the seconds that the oldest has waited."""
    return {queue: (length, oldest_s) for queue, length, oldest_s in query(QUEUE_BACKLOGS)}


def indexing_backlog() -> tuple[int, int, float]:
    """Return unfinished index jobs, their bytes, an owner's longest wait in seconds."""
    [(unfinished, size, unserved_s)] = query(INDEXING_BACKLOG)
    return unfinished, size, unserved_s


def query(sql: str) -> Any:
    """Return all rows over the thread's connection."""
    try:
        return _fetch(sql)
    except (OperationalError, InterfaceError):
        # A restarted server has closed the connection that the thread kept.
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
    except Exception as e:  # of any driver; only the class is shown, since the text may name hosts
        status, detail = "down", {"detail": type(e).__name__}
    return {"status": status, "latencyMs": round((time.perf_counter() - started) * 1000, 1), **detail}
