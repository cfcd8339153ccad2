"""Tests of lunaos.infra.locks: holders, and lost connections."""

import threading
from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from django.db import OperationalError, connection, transaction

from lunaos.infra import locks
from rag.indexing import jobs, runner
from rag.models import Chunk, File, IndexJob
from rag.tests.conftest import source
from rag.tests.test_jobs import waiting_job
from testing.loopback.embeddings import EmbeddingsServer


def run_in_thread(work: Callable[[], Any]) -> Any:
    """Return the result of work in a thread with its own connection."""
    found: list[Any] = []

    def call() -> None:
        found.append(work())
        connection.close()

    thread = threading.Thread(target=call)
    thread.start()
    thread.join(30)
    return found[0]


def is_free(subject: str, number: int) -> bool:
    def look() -> bool:
        with locks.try_lock(subject, number) as acquired:
            return acquired

    return bool(run_in_thread(look))


def terminate_connection() -> None:
    """End this thread's connection as a restart of PostgreSQL does, unnoticed by the thread."""
    pid = connection.connection.info.backend_pid
    with psycopg.connect(connection.connection.info.dsn, autocommit=True) as other:
        other.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])


def test_it_works(database: None) -> None:
    with locks.try_lock("test", 1) as acquired:
        assert acquired
        assert not is_free("test", 1)
        assert is_free("test", 2) and is_free("other", 1)
    assert is_free("test", 1)


def test_an_error_releases_the_lock(database: None) -> None:
    with pytest.raises(ZeroDivisionError), locks.try_lock("test", 1):
        1 / 0  # noqa: B018
    assert is_free("test", 1)


def test_large_numbers_are_accepted(database: None) -> None:
    with locks.try_lock("test", 2**40 + 3) as acquired:
        assert acquired
        assert not is_free("test", 2**40 + 3)


def any_statement() -> None:
    File.objects.exists()


def a_transaction() -> None:
    with transaction.atomic():
        File.objects.exists()


def an_inner_lock() -> None:
    with locks.try_lock("test", 2):
        pass


@pytest.mark.parametrize("work", [any_statement, a_transaction, an_inner_lock])
def test_a_lost_connection_loses_the_lock(database: None, work: Callable[[], None]) -> None:
    """Django reconnects by itself; later statements would run without the lock."""

    def loses_it() -> None:
        with locks.try_lock("test", 1):
            terminate_connection()
            assert is_free("test", 1)
            work()

    with pytest.raises(OperationalError, match="with it the lock"):
        loses_it()
    assert not File.objects.exists()  # after the block the new connection is usable
    assert is_free("test", 1) and is_free("test", 2)


def test_a_job_that_lost_its_lock_continues_with_the_next_holder(alice: Any, embeddings: EmbeddingsServer) -> None:
    """The connection ends during a request to the model; the next holder indexes the rest."""
    job = waiting_job(alice, [source(n) for n in range(90)])
    answer, asked = embeddings._answer, iter(range(1_000))

    def loses(request: dict[str, Any]) -> tuple[int, bytes]:
        if next(asked) == 8:  # 64 files are written
            hung_up.append(in_other_thread())
        return answer(request)

    hung_up: list[object] = []
    pid = connection.connection.info.backend_pid
    dsn = connection.connection.info.dsn

    def in_other_thread() -> object:
        with psycopg.connect(dsn, autocommit=True) as other:
            return other.execute("SELECT pg_terminate_backend(%s, 5000)", [pid]).fetchone()

    embeddings._answer = loses  # type: ignore[method-assign]
    try:
        with pytest.raises(OperationalError):
            runner.run(job.repository_id)
    finally:
        del embeddings._answer
    assert hung_up == [(True,)]
    job.refresh_from_db()
    assert (job.status, job.files_done, File.objects.count()) == ("running", 64, 64)

    run_in_thread(lambda: runner.run(job.repository_id))

    job.refresh_from_db()
    assert (job.status, job.files_done, job.attempts, job.error_code) == ("succeeded", 90, 2, "")
    assert Chunk.objects.count() == 90
    assert jobs.next_unfinished(job.repository_id) is None
    assert IndexJob.objects.count() == 1
