"""What meets at the same moment: deletion, requests, workers, a change of the model."""

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
from testing.embeddings import EmbeddingsServer

FILES = [source(n) for n in range(5)]
LOCK_WAITS = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"


@contextmanager
def meanwhile(work: Callable[[], Any]) -> Iterator[list[Any]]:
    """Something else goes on, over a connection of its own; what it returned or raised is there behind the block."""
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


def waits() -> int:
    """Sessions that wait for a lock."""
    with psycopg.connect(connection.connection.info.dsn, autocommit=True) as other:
        row = other.execute(LOCK_WAITS).fetchone()
    return int(row[0]) if row else 0


# -- Deletion ----------------------------------------------------------------------------------------------------------


def test_a_request_whose_repository_is_deleted_meanwhile_is_told(
    patient: Api, alice: Any, embeddings: EmbeddingsServer
) -> None:
    """While its chunks are at the model; nothing of it stays."""
    with embeddings.hold_requests():
        with meanwhile(lambda: send(patient, alice, ("a.py", "def one(): pass\n"))) as answers:
            assert embeddings.received.acquire(timeout=20)
            assert patient.delete("/rag/repositories/default", headers=patient.as_(alice)).status_code == 200
            embeddings._open.set()
    assert error(answers[0]) == (404, "unknown_repository")
    for model in (Repository, IndexJob, Upload, File, Chunk, Vector, Term):
        assert not model._default_manager.exists()


def test_a_request_that_waits_for_a_worker_is_told_too(patient: Api, alice: Any, embeddings: EmbeddingsServer) -> None:
    large = ("a.py", "x = 1\n" * 200)
    with meanwhile(lambda: send(patient, alice, large)) as answers:
        assert until(IndexJob.objects.exists, 20)
        services.delete(user=alice, repository="default")
    assert error(answers[0]) == (404, "unknown_repository")


def test_a_job_that_comes_while_the_repository_is_deleted(alice: Any, embeddings: EmbeddingsServer) -> None:
    """It waits for the deletion's end and makes the repository anew; neither of the two fails."""
    services.index(user=alice, repository="default", files=FILES)
    old = Repository.objects.get()
    with ExitStack() as stack:
        with transaction.atomic():
            services.delete(user=alice, repository="default")  # others still see it
            create = partial(services.index, user=alice, repository="default", files=FILES[:2])
            created = stack.enter_context(meanwhile(create))
            assert until(lambda: waits() == 1, 20)
    assert isinstance(created[0], IndexJob), created
    assert created[0].status == "succeeded"
    assert Repository.objects.get().pk != old.pk
    assert File.objects.count() == 2


def test_words_are_counted_in_the_order_of_a_deletion(alice: Any, embeddings: EmbeddingsServer) -> None:
    """First the repository, then its words: in another order PostgreSQL would have to end one of the two."""
    services.index(user=alice, repository="default", files=FILES)
    repository = Repository.objects.get()
    repository.chunks = 0  # as before the first count
    with ExitStack() as stack:
        with transaction.atomic():
            Repository.objects.select_for_update().get(pk=repository.pk)
            counted = stack.enter_context(meanwhile(partial(terms.count, repository)))
            assert until(lambda: waits() == 1, 20)
            assert list(Term.objects.select_for_update(nowait=True).filter(repository=repository))
            repository.delete()
    assert counted == [None]
    assert not Term.objects.exists()


def test_two_deletions_at_once(alice: Any, embeddings: EmbeddingsServer) -> None:
    services.index(user=alice, repository="default", files=FILES)
    with ExitStack() as stack:
        with transaction.atomic():
            services.delete(user=alice, repository="default")
            second = stack.enter_context(meanwhile(partial(services.delete, user=alice, repository="default")))
            assert until(lambda: waits() == 1, 20)
    assert isinstance(second[0], UnknownRepository)


def test_a_worker_that_comes_too_late_for_a_deleted_job(
    alice: Any, embeddings: EmbeddingsServer, monkeypatch: Any
) -> None:
    """Between the look for the next job and its beginning."""
    job = waiting_job(alice, FILES)
    begin = jobs.begin

    def late(each: IndexJob) -> IndexJob:
        services.delete(user=alice, repository="default")
        return begin(each)

    monkeypatch.setattr("rag.indexing.jobs.begin", late)
    runner.run(job.repository_id)
    assert not IndexJob.objects.exists() and not File.objects.exists()
    assert embeddings.requests == []


def test_a_file_is_not_written_into_a_repository_that_has_gone(alice: Any, embeddings: EmbeddingsServer) -> None:
    job = waiting_job(alice, FILES)
    with embeddings.hold_requests():
        with meanwhile(lambda: runner.run(job.repository_id)) as ran:
            assert embeddings.received.acquire(timeout=20)
            services.delete(user=alice, repository="default")
            embeddings._open.set()
    assert ran == [None]
    assert not File.objects.exists() and not Chunk.objects.exists() and not Vector.objects.exists()


# -- A search meanwhile ------------------------------------------------------------------------------------------------


def test_a_search_sees_the_old_file_until_the_new_one_is_whole(
    alice: Any, embeddings: EmbeddingsServer, monkeypatch: Any
) -> None:
    """While the new chunks are half written, another connection finds all of the old ones and none of the new."""
    old = "def old_one():\n    return 1\n\n\ndef old_two():\n    return 2\n"
    services.index(user=alice, repository="default", files=[SourceFile("a.py", old)])
    seen: list[set[str]] = []
    values = store._values

    def look() -> set[str]:
        return {hit.symbol for hit in services.find(user=alice, repository="default", query="one two", limit=20)}

    def written(*arguments: Any) -> dict[str, Any]:
        """Called when the old chunks are deleted and before the new ones are there."""
        assert not Chunk.objects.exists()
        with meanwhile(look) as found:
            pass
        seen.extend(found)
        return values(*arguments)

    monkeypatch.setattr("rag.indexing.store._values", written)
    services.index(user=alice, repository="default", files=[SourceFile("a.py", "def new_one(): pass\n")])

    assert seen == [{"old_one", "old_two"}]
    assert look() == {"new_one"}


# -- A change of the model ---------------------------------------------------------------------------------------------


def test_an_empty_repository_keeps_its_model_while_somebody_fills_it(
    alice: Any, embeddings: EmbeddingsServer, settings: Any
) -> None:
    """A worker with the settings of before is at it: a switch now would hide all that it is about to write."""
    job = waiting_job(alice, FILES)
    with embeddings.hold_requests():
        with meanwhile(lambda: runner.run(job.repository_id)) as ran:
            assert embeddings.received.acquire(timeout=20)
            settings.EMBEDDINGS_MODEL = "larger-model"
            with pytest.raises(ReindexRequired):
                services.index(user=alice, repository="default", files=FILES)
            embeddings._open.set()
    assert ran == [None]
    repository = Repository.objects.get()
    assert repository.model == "all-minilm-l6-v2"
    assert Vector.objects.filter(model=repository.model).count() == Chunk.objects.count() == 5


def test_a_job_that_waits_is_done_with_the_model_of_its_repository(
    alice: Any, embeddings: EmbeddingsServer, settings: Any
) -> None:
    """It was taken before the change; its vectors are of the model by which the repository is searched."""
    services.index(user=alice, repository="default", files=FILES[:1])
    job = waiting_job(alice, FILES)
    settings.EMBEDDINGS_MODEL = "larger-model"
    settings.EMBEDDINGS_PREVIOUS_BASE_URL = embeddings.base_url
    runner.run(job.repository_id)
    assert set(Vector.objects.values_list("model", flat=True)) == {"all-minilm-l6-v2"}
    assert Vector.objects.count() == Chunk.objects.count() == 5


def test_a_server_that_takes_any_models_name(alice: Any, embeddings: EmbeddingsServer, settings: Any) -> None:
    """llama.cpp does: the new model's vectors, of another length, come for the old one's name."""
    services.index(user=alice, repository="default", files=FILES)
    with EmbeddingsServer(dimension=512) as other:
        settings.EMBEDDINGS_BASE_URL, settings.EMBEDDINGS_MODEL = other.base_url, "larger-model"
        with pytest.raises(ReindexRequired, match=r"manage\.py reindex"):
            services.find(user=alice, repository="default", query="function", limit=1)


# -- The queue ---------------------------------------------------------------------------------------------------------


def test_what_waits_is_not_sent_again_and_again(alice: Any, embeddings: EmbeddingsServer) -> None:
    """Without a worker, beat would fill the queue every ten seconds."""
    for name in ("one", "two"):
        waiting_job(alice, FILES[:1], name)
    for _ in range(3):
        recovery.requeue_unfinished()
    assert queue.length() == 2


def test_a_lost_message_is_sent_again(alice: Any, embeddings: EmbeddingsServer) -> None:
    job = waiting_job(alice, FILES[:1])
    queue.enqueue(job.repository_id)
    redis.client().delete(queue.NAME)
    recovery.requeue_unfinished()
    assert queue.length() == 1


def test_jobs_that_have_ended_are_not_sent(alice: Any, embeddings: EmbeddingsServer) -> None:
    services.index(user=alice, repository="default", files=FILES[:1])
    recovery.requeue_unfinished()
    assert queue.length() == 0


def test_a_job_behind_another_is_done_by_whoever_holds_the_lock(alice: Any, embeddings: EmbeddingsServer) -> None:
    """It comes while the first is at the model; its own message finds the lock taken."""
    first = waiting_job(alice, FILES)
    with embeddings.hold_requests():
        with meanwhile(lambda: runner.run(first.repository_id)):
            assert embeddings.received.acquire(timeout=20)
            second = services.index(user=alice, repository="default", files=[SourceFile("late.py", "x = 1\n")])
            assert second.status == "queued"
            runner.run(first.repository_id)  # returns at once
            second.refresh_from_db()
            assert second.status == "queued"
            embeddings._open.set()
    second.refresh_from_db()
    assert second.status == "succeeded"
