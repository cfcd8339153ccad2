"""Small requests run inline up to a timeout; then a worker continues the job."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from threading import BoundedSemaphore
from typing import Any

import pytest
from django.http import StreamingHttpResponse

from rag import services
from rag.indexing import runner
from rag.indexing.indexer import SourceFile
from rag.models import Chunk, IndexJob
from rag.responses import JobResponse
from testing.loopback.embeddings import EmbeddingsServer

FUNCTIONS = "".join(f"class A{n} {{ int b() {{ return {n}; }} }}\n" for n in range(20))  # many chunks of few characters


@pytest.fixture
def sent(monkeypatch: Any) -> list[int]:
    """Return the repositories enqueued for workers."""
    found: list[int] = []
    monkeypatch.setattr("rag.indexing.queue.enqueue", found.append)
    return found


@pytest.fixture
def index(alice: Any, embeddings: EmbeddingsServer, sent: list[int]) -> Callable[[], IndexJob]:
    return lambda: services.index_files(user=alice, repository="default", files=[SourceFile("A.java", FUNCTIONS)])


def assert_worker_continues(job: IndexJob, sent: list[int]) -> None:
    assert (job.status, sent) == ("running", [job.repository_id])
    assert not Chunk.objects.exists()
    runner.run(job.repository_id)
    job.refresh_from_db()
    assert (job.status, job.files_done, job.attempts, job.chunks) == ("succeeded", 1, 2, 20)
    assert Chunk.objects.count() == 20


def test_it_works(index: Callable[[], IndexJob], sent: list[int], monkeypatch: Any) -> None:
    monkeypatch.setattr(runner, "INLINE_TIMEOUT_S", -1)
    assert_worker_continues(index(), sent)


def test_a_quick_job_ends_inline(index: Callable[[], IndexJob], sent: list[int]) -> None:
    assert (index().status, sent) == ("succeeded", [])


def test_a_job_times_out_in_the_middle_of_a_file(
    index: Callable[[], IndexJob], sent: list[int], embeddings: EmbeddingsServer, monkeypatch: Any
) -> None:
    """The timeout comes after two requests to the model."""
    within = runner._raise_if_past
    monkeypatch.setattr(
        runner, "_raise_if_past", lambda deadline: within(deadline if len(embeddings.requests) < 2 else 0)
    )
    job = index()
    assert len(embeddings.requests) == 2
    assert_worker_continues(job, sent)


def test_a_job_without_a_request_slot_goes_to_a_worker(
    index: Callable[[], IndexJob], sent: list[int], monkeypatch: Any
) -> None:
    monkeypatch.setattr("rag.search.embeddings.SLOT_TIMEOUT_S", 0.05)
    taken = BoundedSemaphore(1)
    assert taken.acquire()
    monkeypatch.setattr("rag.search.embeddings.REQUEST_SLOTS", taken)
    assert_worker_continues(index(), sent)


@pytest.mark.parametrize(("ago_s", "left_s"), [(0, 30), (12, 18), (40, 0)])
def test_time_before_the_response_counts_towards_the_wait(
    index: Callable[[], IndexJob], settings: Any, monkeypatch: Any, ago_s: int, left_s: int
) -> None:
    settings.RAG_WAIT_S = 30
    job, waited = IndexJob.objects.select_related("repository").get(pk=index().pk), list[float]()
    job.created_at -= timedelta(seconds=ago_s)

    class Reader:
        def __init__(self, job_id: object) -> None:
            pass

        async def wait_for_end(self, within_s: float) -> IndexJob:
            waited.append(within_s)
            return job

        def close(self) -> None:
            pass

    monkeypatch.setattr("rag.responses.JobEventReader", Reader)
    assert asyncio.run(JobResponse(job).open(1)).status_code == 200
    assert waited == [pytest.approx(left_s, abs=2)]


def test_the_response_of_a_job_is_no_stream() -> None:
    assert not issubclass(JobResponse, StreamingHttpResponse)
