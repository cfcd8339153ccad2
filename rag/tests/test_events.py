"""GET /rag/jobs/{id}/events: opening, heartbeat, reconnection and every kind of end."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from rag import services
from rag.errors import EmbeddingsFailed
from rag.indexing import jobs
from rag.indexing.indexer import Progress
from rag.models import IndexJob
from rag.tests.conftest import source
from rag.tests.test_jobs import follow, waiting_job
from testing.client import Api, Event
from testing.loopback.embeddings import EmbeddingsServer


class Reader:
    """Read a job's stream event by event."""

    def __init__(self, lines: Iterator[str]) -> None:
        self._lines = lines

    def comment(self) -> str:
        """Return the next comment, and skip events before it."""
        return next(line for line in self._lines if line.startswith(":"))

    def line(self) -> str:
        """Return the next line, whatever it is."""
        return next(self._lines)

    def event(self) -> tuple[int | None, Event]:
        """Return the id and the data of the next event."""
        position = None
        for line in self._lines:
            if line.startswith("id: "):
                position = int(line[4:])
            elif line.startswith("data: "):
                return position, json.loads(line[6:])
        raise AssertionError("the stream has ended")

    def rest(self) -> list[str]:
        return [line for line in self._lines if line and not line.startswith(":")]


@contextmanager
def stream(api: Api, user: Any, job: IndexJob, **headers: str) -> Iterator[Reader]:
    with api.stream("GET", f"/rag/jobs/{job.pk}/events", headers={**api.as_(user), **headers}) as response:
        assert response.status_code == 200
        assert response.headers["Content-Type"] == "text/event-stream"
        assert response.headers["Cache-Control"] == "no-cache, no-transform"
        assert response.headers["X-Accel-Buffering"] == "no"
        yield Reader(response.iter_lines())


@pytest.fixture
def job(alice: Any, embeddings: EmbeddingsServer) -> IndexJob:
    """Return a job that no worker runs; the test changes its state."""
    return waiting_job(alice, [source(n) for n in range(4)])


def test_it_works(patient: Api, alice: Any, job: IndexJob) -> None:
    with stream(patient, alice, job) as reader:
        assert reader.event() == (0, {"type": "progress", "files": 4, "filesDone": 0, "unchanged": 0, "chunks": 0,
                                      "filesPerSecond": 0.0, "skipped": [], "skippedFiles": 0})  # fmt: skip
        jobs.mark_running(job)
        assert reader.event()[0] == 1
        jobs.record_progress(job, Progress(paths=["src/module_0.py"], chunks=1))
        position, event = reader.event()
        assert (position, event["type"], event["filesDone"], event["chunks"]) == (2, "progress", 1, 1)
        jobs.record_progress(job, Progress(paths=["a.bin"], skipped=[("a.bin", "binary")]))
        assert reader.event()[1]["skipped"] == [{"path": "a.bin", "reason": "binary"}]
        jobs.mark_ended(job)
        position, event = reader.event()
        assert (position, event["type"], event["filesDone"]) == (4, "done", 2)
        assert reader.rest() == []


def test_heartbeats_are_comments(patient: Api, alice: Any, job: IndexJob) -> None:
    with stream(patient, alice, job) as reader:
        assert reader.comment() == ": keep-alive"
        assert reader.line() == ": keep-alive"  # without a blank line between
        jobs.mark_ended(job)
        assert reader.event()[1]["type"] == "done"


def test_a_reconnecting_client_gets_later_events_only(patient: Api, alice: Any, job: IndexJob) -> None:
    with stream(patient, alice, job) as reader:
        position, _ = reader.event()
    with stream(patient, alice, job, **{"Last-Event-ID": str(position)}) as reader:
        assert reader.comment()  # no event comes twice
        jobs.mark_running(job)
        assert reader.event()[0] == 1
    jobs.record_progress(job, Progress(paths=["src/module_0.py"], chunks=1))
    jobs.mark_ended(job)
    assert [(at, event["type"]) for at, event in follow(patient, alice, str(job.pk), **{"Last-Event-ID": "1"})] == [
        (3, "done")
    ]


def test_a_failure_ends_the_stream(patient: Api, alice: Any, job: IndexJob) -> None:
    with stream(patient, alice, job) as reader:
        reader.event()
        jobs.mark_ended(job, EmbeddingsFailed("No such model."))
        assert reader.event()[1] == {"type": "error", "error": "No such model.", "code": "embeddings_error"}
        assert reader.rest() == []


def test_a_deletion_ends_the_stream(patient: Api, alice: Any, job: IndexJob) -> None:
    with stream(patient, alice, job) as reader:
        reader.event()
        services.delete_repository(user=alice, repository="default")
        position, event = reader.event()
        assert (position, event["type"], event["code"]) == (None, "error", "unknown_repository")
        assert reader.rest() == []


def test_another_attempt_continues_the_stream(patient: Api, alice: Any, job: IndexJob) -> None:
    with stream(patient, alice, job) as reader:
        reader.event()
        for attempt in (1, 2):
            job.refresh_from_db()
            jobs.mark_running(job)
            assert reader.event()[0] == attempt
    job.refresh_from_db()
    assert (job.attempts, job.status) == (2, "running")


def test_readers_are_independent(patient: Api, alice: Any, job: IndexJob) -> None:
    received: list[list[Event]] = [[], [], []]

    def read(into: list[Event]) -> None:
        into += [event for _, event in follow(patient, alice, str(job.pk))]

    threads = [threading.Thread(target=read, args=[into]) for into in received]
    for thread in threads:
        thread.start()
    with stream(patient, alice, job) as reader:
        reader.event()  # and disconnects
    jobs.mark_ended(job)
    for thread in threads:
        thread.join(20)
    assert [events[-1]["type"] for events in received] == ["done"] * 3


def test_another_attempt_clears_the_error(alice: Any, job: IndexJob) -> None:
    """A command whose job was ended as killed may still start the job."""
    jobs.mark_ended(job, EmbeddingsFailed("No such model."))
    job.refresh_from_db()
    assert (job.error_code, job.error) == ("embeddings_error", "No such model.")
    jobs.mark_running(job)
    jobs.mark_ended(job)
    job.refresh_from_db()
    assert (job.status, job.error_code, job.error) == ("succeeded", "", "")


def test_skipped_files_are_counted_but_listed_up_to_a_maximum(alice: Any, job: IndexJob, monkeypatch: Any) -> None:
    monkeypatch.setattr("rag.indexing.jobs.MAX_SKIPPED_LISTED", 3)
    for n in range(2):
        paths = [f"{n}-{m}.bin" for m in range(2)]
        jobs.record_progress(job, Progress(paths=paths, skipped=[(path, "binary") for path in paths]))
    job.refresh_from_db()
    assert (job.skipped_files, len(job.skipped)) == (4, 3)


def test_listed_paths_of_skipped_files_are_limited_in_bytes(alice: Any, job: IndexJob) -> None:
    """No tier limits these bytes: 100 paths of 1 800 bytes a request would store 650 MB an hour."""
    for n in range(3):
        paths = [f"{n}/{m}/{'𝓐' * 440}.min.js" for m in range(10)]
        jobs.record_progress(job, Progress(paths=paths, skipped=[(path, "minified") for path in paths]))
    job.refresh_from_db()
    assert job.skipped_files == 30
    assert sum(len(each["path"].encode()) for each in job.skipped) <= jobs.MAX_SKIPPED_LISTED_BYTES
    assert len(job.skipped) > 15
