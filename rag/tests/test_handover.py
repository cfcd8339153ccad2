"""A small request that is not done soon is handed over to a worker: no thread of a web process waits for the model."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from threading import BoundedSemaphore
from typing import Any

import pytest

from rag import services
from rag.indexing import runner
from rag.indexing.indexer import SourceFile
from rag.models import Chunk, IndexJob
from rag.responses import JobResponse
from testing.embeddings import EmbeddingsServer

FUNCTIONS = "".join(f"class A{n} {{ int b() {{ return {n}; }} }}\n" for n in range(20))  # many chunks of few characters


@pytest.fixture
def sent(monkeypatch: Any) -> list[int]:
    """What workers are sent."""
    found: list[int] = []
    monkeypatch.setattr("rag.indexing.queue.enqueue", found.append)
    return found


@pytest.fixture
def index(alice: Any, embeddings: EmbeddingsServer, sent: list[int]) -> Callable[[], IndexJob]:
    return lambda: services.index(user=alice, repository="default", files=[SourceFile("A.java", FUNCTIONS)])


def done_by_a_worker(job: IndexJob, sent: list[int]) -> None:
    assert (job.status, sent) == ("running", [job.repository_id])
    assert not Chunk.objects.exists()
    runner.run(job.repository_id)
    job.refresh_from_db()
    assert (job.status, job.files_done, job.attempts, job.chunks) == ("succeeded", 1, 2, 20)
    assert Chunk.objects.count() == 20


def test_it_works(index: Callable[[], IndexJob], sent: list[int], monkeypatch: Any) -> None:
    monkeypatch.setattr(runner, "HANDED_OVER_AFTER_S", -1)
    done_by_a_worker(index(), sent)


def test_what_is_quick_is_done_at_once(index: Callable[[], IndexJob], sent: list[int]) -> None:
    assert (index().status, sent) == ("succeeded", [])


def test_in_the_middle_of_a_file(
    index: Callable[[], IndexJob], sent: list[int], embeddings: EmbeddingsServer, monkeypatch: Any
) -> None:
    """Its time is over when the model has been asked twice."""
    within = runner._within
    monkeypatch.setattr(runner, "_within", lambda deadline: within(deadline if len(embeddings.requests) < 2 else 0))
    job = index()
    assert len(embeddings.requests) == 2
    done_by_a_worker(job, sent)


def test_where_others_are_at_the_model(index: Callable[[], IndexJob], sent: list[int], monkeypatch: Any) -> None:
    monkeypatch.setattr("rag.search.embeddings.TURN_WITHIN_S", 0.05)
    taken = BoundedSemaphore(1)
    assert taken.acquire()
    monkeypatch.setattr("rag.search.embeddings.TURNS", taken)
    done_by_a_worker(index(), sent)


@pytest.mark.parametrize(("ago_s", "left_s"), [(0, 30), (12, 18), (40, 0)])
def test_its_time_counts_towards_the_contracts(
    index: Callable[[], IndexJob], settings: Any, monkeypatch: Any, ago_s: int, left_s: int
) -> None:
    settings.RAG_WAIT_S = 30
    job, waited = IndexJob.objects.select_related("repository").get(pk=index().pk), list[float]()
    job.created_at -= timedelta(seconds=ago_s)

    class Follower:
        def __init__(self, job_id: object) -> None:
            pass

        async def until_end(self, within_s: float) -> IndexJob:
            waited.append(within_s)
            return job

        def close(self) -> None:
            pass

    monkeypatch.setattr("rag.responses.Follower", Follower)
    assert asyncio.run(JobResponse(job).open(1)).status_code == 200
    assert waited == [pytest.approx(left_s, abs=2)]
