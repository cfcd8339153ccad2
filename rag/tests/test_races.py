"""Concurrent deletions, requests, workers and changes of the model."""

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import psycopg
import pytest
from django.db import connection, transaction

from lunaos.embedded.servers import until
from lunaos.infra import redis
from rag import services
from rag.errors import ReindexRequired, UnknownRepository
from rag.indexing import jobs, queue, recovery, runner, store
from rag.indexing.indexer import SourceFile
from rag.models import Chunk, File, IndexJob, Repository, Term, Upload, Vector
from rag.search import terms
from rag.tests.conftest import source
from rag.tests.test_index import send
from rag.tests.test_jobs import waiting_job
from testing.client import Api, error
from testing.loopback.embeddings import EmbeddingsServer

FILES = [source(n) for n in range(5)]
LOCK_WAITS = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"


@contextmanager
def concurrently(work: Callable[[], Any]) -> Iterator[list[Any]]:
    """Run work in a thread beside the block; the list holds its result or error afterwards."""
    found: list[Any] = []

    def call() -> None:
        try:
            found.append(work())
        except Exception as e:
            found.append(e)
        connection.close()

    thread = threading.Thread(target=call)
    thread.start()
    yield found
    thread.join(30)
    assert not thread.is_alive()


def waiting_sessions() -> int:
    """Return the number of sessions that wait for a lock."""
    with psycopg.connect(connection.connection.info.dsn, autocommit=True) as other:
        row = other.execute(LOCK_WAITS).fetchone()
    return int(row[0]) if row else 0


# -- Deletion ----------------------------------------------------------------------------------------------------------


def test_an_inline_request_of_a_deleted_repository_is_404(
    patient: Api, alice: Any, embeddings: EmbeddingsServer
) -> None:
    """The deletion comes during the request to the model; no rows are left."""
    with embeddings.blocked():
        with concurrently(lambda: send(patient, alice, ("a.py", "def one(): pass\n"))) as answers:
            assert embeddings.received.acquire(timeout=20)
            assert patient.delete("/rag/repositories/default", headers=patient.as_(alice)).status_code == 200
            embeddings.resume.set()
    assert error(answers[0]) == (404, "unknown_repository")
    for model in (Repository, IndexJob, Upload, File, Chunk, Vector, Term):
        assert not model._default_manager.exists()


def test_a_waiting_request_of_a_deleted_repository_is_404(
    patient: Api, alice: Any, embeddings: EmbeddingsServer
) -> None:
    large = ("a.py", "x = 1\n" * 200)
    with concurrently(lambda: send(patient, alice, large)) as answers:
        assert until(IndexJob.objects.exists, 20)
        services.delete_repository(user=alice, repository="default")
    assert error(answers[0]) == (404, "unknown_repository")


def test_a_request_during_a_deletion_creates_the_repository_again(alice: Any, embeddings: EmbeddingsServer) -> None:
    """The request waits for the deletion and creates the repository again; neither fails."""
    services.index_files(user=alice, repository="default", files=FILES)
    old = Repository.objects.get()
    with ExitStack() as stack:
        with transaction.atomic():
            services.delete_repository(user=alice, repository="default")  # other transactions still see it
            create = partial(services.index_files, user=alice, repository="default", files=FILES[:2])
            created = stack.enter_context(concurrently(create))
            assert until(lambda: waiting_sessions() == 1, 20)
    assert isinstance(created[0], IndexJob), created
    assert created[0].status == "succeeded"
    assert Repository.objects.get().pk != old.pk
    assert File.objects.count() == 2


def test_term_counts_and_deletions_do_not_deadlock(alice: Any, embeddings: EmbeddingsServer) -> None:
    """Both lock the repository first; otherwise PostgreSQL would abort one of them."""
    services.index_files(user=alice, repository="default", files=FILES)
    repository = Repository.objects.get()
    repository.chunks = 0  # the value before the first count
    with ExitStack() as stack:
        with transaction.atomic():
            Repository.objects.select_for_update().get(pk=repository.pk)
            counted = stack.enter_context(concurrently(partial(terms.recount_terms, repository)))
            assert until(lambda: waiting_sessions() == 1, 20)
            assert list(Term.objects.select_for_update(nowait=True).filter(repository=repository))
            repository.delete()
    assert counted == [None]
    assert not Term.objects.exists()


def test_concurrent_deletions(alice: Any, embeddings: EmbeddingsServer) -> None:
    services.index_files(user=alice, repository="default", files=FILES)
    with ExitStack() as stack:
        with transaction.atomic():
            services.delete_repository(user=alice, repository="default")
            second = stack.enter_context(
                concurrently(partial(services.delete_repository, user=alice, repository="default"))
            )
            assert until(lambda: waiting_sessions() == 1, 20)
    assert isinstance(second[0], UnknownRepository)


def test_a_worker_skips_a_deleted_job(alice: Any, embeddings: EmbeddingsServer, monkeypatch: Any) -> None:
    """The deletion comes between the query for the next job and its start."""
    job = waiting_job(alice, FILES)
    begin = jobs.mark_running

    def late(each: IndexJob) -> IndexJob:
        services.delete_repository(user=alice, repository="default")
        return begin(each)

    monkeypatch.setattr("rag.indexing.jobs.mark_running", late)
    runner.run(job.repository_id)
    assert not IndexJob.objects.exists() and not File.objects.exists()
    assert embeddings.requests == []


def test_no_file_is_written_into_a_deleted_repository(alice: Any, embeddings: EmbeddingsServer) -> None:
    job = waiting_job(alice, FILES)
    with embeddings.blocked():
        with concurrently(lambda: runner.run(job.repository_id)) as ran:
            assert embeddings.received.acquire(timeout=20)
            services.delete_repository(user=alice, repository="default")
            embeddings.resume.set()
    assert ran == [None]
    assert not File.objects.exists() and not Chunk.objects.exists() and not Vector.objects.exists()


# -- A search during a write ------------------------------------------------------------------------------------------


def test_a_search_sees_the_old_file_until_the_new_one_is_complete(
    alice: Any, embeddings: EmbeddingsServer, monkeypatch: Any
) -> None:
    """During the write, another connection finds the old chunks only."""
    old = "def old_one():\n    return 1\n\n\ndef old_two():\n    return 2\n"
    services.index_files(user=alice, repository="default", files=[SourceFile("a.py", old)])
    seen: list[set[str]] = []
    values = store._parameters

    def look() -> set[str]:
        return {hit.symbol for hit in services.search_code(user=alice, repository="default", query="one two", limit=20)}

    def written(*arguments: Any) -> dict[str, Any]:
        """Run after the old chunks are deleted and before the new ones are written."""
        assert not Chunk.objects.exists()
        with concurrently(look) as found:
            pass
        seen.extend(found)
        return values(*arguments)

    monkeypatch.setattr("rag.indexing.store._parameters", written)
    services.index_files(user=alice, repository="default", files=[SourceFile("a.py", "def new_one(): pass\n")])

    assert seen == [{"old_one", "old_two"}]
    assert look() == {"new_one"}


# -- A change of the model ---------------------------------------------------------------------------------------------


def test_a_locked_empty_repository_keeps_its_model(alice: Any, embeddings: EmbeddingsServer, settings: Any) -> None:
    """A worker with old settings is indexing; a switch would hide its vectors."""
    job = waiting_job(alice, FILES)
    with embeddings.blocked():
        with concurrently(lambda: runner.run(job.repository_id)) as ran:
            assert embeddings.received.acquire(timeout=20)
            settings.EMBEDDINGS_MODEL = "larger-model"
            with pytest.raises(ReindexRequired):
                services.index_files(user=alice, repository="default", files=FILES)
            embeddings.resume.set()
    assert ran == [None]
    repository = Repository.objects.get()
    assert repository.model == "all-minilm-l6-v2"
    assert Vector.objects.filter(model=repository.model).count() == Chunk.objects.count() == 5


def test_a_waiting_job_uses_the_model_of_its_repository(
    alice: Any, embeddings: EmbeddingsServer, settings: Any
) -> None:
    """The job was created before the change; its vectors are of the repository's model."""
    services.index_files(user=alice, repository="default", files=FILES[:1])
    job = waiting_job(alice, FILES)
    settings.EMBEDDINGS_MODEL = "larger-model"
    settings.EMBEDDINGS_PREVIOUS_BASE_URL = embeddings.base_url
    runner.run(job.repository_id)
    assert set(Vector.objects.values_list("model", flat=True)) == {"all-minilm-l6-v2"}
    assert Vector.objects.count() == Chunk.objects.count() == 5


def test_a_server_that_accepts_any_model_name_requires_a_reindex(
    alice: Any, embeddings: EmbeddingsServer, settings: Any
) -> None:
    """llama.cpp does so: it returns the new model's vectors, of another length."""
    services.index_files(user=alice, repository="default", files=FILES)
    with EmbeddingsServer(dimension=512) as other:
        settings.EMBEDDINGS_BASE_URL, settings.EMBEDDINGS_MODEL = other.base_url, "larger-model"
        with pytest.raises(ReindexRequired, match=r"manage\.py reindex"):
            services.search_code(user=alice, repository="default", query="function", limit=1)


# -- The queue ---------------------------------------------------------------------------------------------------------


def test_recovery_does_not_fill_the_queue(alice: Any, embeddings: EmbeddingsServer) -> None:
    """Without a worker, beat would add messages every ten seconds."""
    for name in ("one", "two"):
        waiting_job(alice, FILES[:1], name)
    for _ in range(3):
        recovery.requeue_unfinished()
    assert queue.length() == 2


def test_recovery_replaces_a_lost_message(alice: Any, embeddings: EmbeddingsServer) -> None:
    job = waiting_job(alice, FILES[:1])
    queue.enqueue(job.repository_id)
    redis.client().delete(queue.QUEUE_NAME)
    recovery.requeue_unfinished()
    assert queue.length() == 1


def test_recovery_ignores_ended_jobs(alice: Any, embeddings: EmbeddingsServer) -> None:
    services.index_files(user=alice, repository="default", files=FILES[:1])
    recovery.requeue_unfinished()
    assert queue.length() == 0


def test_the_lock_holder_runs_later_jobs_too(alice: Any, embeddings: EmbeddingsServer) -> None:
    """The job comes during the first job's request to the model, and its message finds the lock taken."""
    first = waiting_job(alice, FILES)
    with embeddings.blocked():
        with concurrently(lambda: runner.run(first.repository_id)):
            assert embeddings.received.acquire(timeout=20)
            second = services.index_files(user=alice, repository="default", files=[SourceFile("late.py", "x = 1\n")])
            assert second.status == "queued"
            runner.run(first.repository_id)  # returns at once
            second.refresh_from_db()
            assert second.status == "queued"
            embeddings.resume.set()
    second.refresh_from_db()
    assert second.status == "succeeded"
