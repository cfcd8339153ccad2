"""Index jobs in workers: order, crashes and retries; GET /rag/jobs/{id} and its events."""

import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection
from django.db.models import F

from lunaos.embedded.servers import until
from lunaos.infra import locks
from rag import services, stopping
from rag.errors import UnknownRepository
from rag.indexing import jobs, queue, recovery, runner
from rag.indexing.indexer import SourceFile
from rag.models import Chunk, File, IndexJob, JobKind, Repository, Upload
from rag.tests.conftest import StartWorker, source
from rag.tests.test_index import send
from testing.client import Api, Event, error, parse
from testing.loopback.embeddings import EmbeddingsServer
from testing.servers import daphne

MANY = [source(n) for n in range(90)]


def submit(api: Api, user: Any, files: list[SourceFile], **more: Any) -> Any:
    """Send a request that is too large to run inline."""
    return send(api, user, *((file.path, file.content or "") for file in files), **more)


def waiting_job(user: Any, files: list[SourceFile], repository: str = "default") -> IndexJob:
    """Create a job that no worker has started."""
    return jobs.create(services.open_repository(user, repository), files)


def run_apart(repository_id: int) -> None:
    """Run a repository's jobs in a thread, and close the thread's connection."""
    runner.run(repository_id)
    connection.close()


def follow(api: Api, user: Any, job_id: str, **headers: str) -> list[tuple[int, Event]]:
    """Return a job's events to the end, with their ids."""
    response = api.get(f"/rag/jobs/{job_id}/events", headers={**api.as_(user), **headers})
    return list(zip(*parse(response.text), strict=True))


def test_a_worker_runs_the_job_while_the_request_waits(patient: Api, alice: Any, worker: StartWorker) -> None:
    with worker():
        job = submit(patient, alice, MANY[:3]).json()["data"]
        assert until(lambda: IndexJob.objects.get(repository__user=alice).status == "succeeded", 20)
    again = submit(patient, alice, MANY[:3])
    assert job  # 200, or 202 while the worker was starting
    assert again.status_code in (200, 202)


def test_a_waiting_request_gets_the_outcome(alice: Any, embeddings: EmbeddingsServer, tmp_path: Path) -> None:
    changes = {"EMBEDDINGS_BASE_URL": embeddings.base_url, "LUNAOS_RAG_INLINE_CHARACTERS": "500"}
    with (
        daphne(tmp_path / "web.log", "/ready", **changes) as url,
        Api(base_url=url, timeout=60) as api,
        ThreadPoolExecutor() as pool,
    ):
        waiting = pool.submit(submit, api, alice, MANY[:10])
        assert until(IndexJob.objects.filter(repository__user=alice).exists, 10)
        runner.run(Repository.objects.get(user=alice).pk)
        response = waiting.result(40)
    assert response.status_code == 200
    assert response.json()["data"]["indexed"] == 10


def test_after_the_wait_the_response_is_202_with_the_job(
    patient: Api, alice: Any, embeddings: EmbeddingsServer
) -> None:
    response = submit(patient, alice, MANY[:10])

    assert response.status_code == 202
    job = response.json()["data"]
    assert response.headers["Location"] == f"/rag/jobs/{job['id']}"
    assert (job["status"], job["files"], job["filesDone"], job["repository"]) == ("queued", 10, 0, "default")

    runner.run(Repository.objects.get(user=alice).pk)
    done = patient.get(f"/rag/jobs/{job['id']}", headers=patient.as_(alice)).json()["data"]
    assert (done["status"], done["filesDone"], done["chunks"], done["skipped"]) == ("succeeded", 10, 10, [])
    assert done["filesPerSecond"] > 0
    assert done["startedAt"] < done["finishedAt"]


def test_a_job_that_fails_while_the_request_waits(patient: Api, alice: Any, embeddings: EmbeddingsServer) -> None:
    answers: list[Any] = []
    thread = threading.Thread(target=lambda: answers.append(submit(patient, alice, MANY[:10])))
    thread.start()
    assert until(IndexJob.objects.filter(repository__user=alice).exists, 10)
    embeddings.respond_with(400)
    runner.run(Repository.objects.get(user=alice).pk)
    thread.join(20)
    assert error(answers[0]) == (502, "embeddings_error")


# -- Killed ------------------------------------------------------------------------------------------------------------


def test_a_killed_job_continues_without_duplicates(
    alice: Any, embeddings: EmbeddingsServer, worker: StartWorker
) -> None:
    job = waiting_job(alice, MANY)
    with worker() as process:
        with embeddings.blocked(after=8):
            recovery.requeue_unfinished()
            assert all(
                embeddings.received.acquire(timeout=30) for _ in range(9)
            )  # eight requests are written, one waits
            process.send_signal(signal.SIGKILL)
            process.wait(10)
    done_before = File.objects.count()
    assert IndexJob.objects.get(pk=job.pk).status == "running"
    assert Upload.objects.filter(job=job).count() == len(MANY) - done_before
    embeddings.reset()

    with worker():
        recovery.requeue_unfinished()
        assert until(lambda: IndexJob.objects.get(pk=job.pk).status == "succeeded", 30)

    job.refresh_from_db()
    assert (job.files_done, job.chunks, job.attempts) == (len(MANY), len(MANY), 2)
    assert len(embeddings.texts) == 2 * (len(MANY) - done_before)  # done files are not embedded again
    assert Chunk.objects.count() == len(MANY)
    assert not Upload.objects.exists()


def stop(process: Any) -> int:
    """Send SIGTERM to a worker and return its exit code; no installation has a shorter grace."""
    process.send_signal(signal.SIGTERM)
    return int(process.wait(10))


def test_a_stopping_worker_requeues_its_job(alice: Any, embeddings: EmbeddingsServer, worker: StartWorker) -> None:
    """During a request to the model; another worker continues the job without beat."""
    job = waiting_job(alice, MANY)
    with worker() as process, embeddings.blocked(after=8):
        recovery.requeue_unfinished()
        assert all(embeddings.received.acquire(timeout=30) for _ in range(9))
        assert stop(process) == 0
    job.refresh_from_db()
    done_before = File.objects.count()
    assert (job.status, job.attempts) == ("running", 0) and 0 < done_before < len(MANY)
    assert queue.length() == 1
    embeddings.reset()

    with worker():
        assert until(lambda: IndexJob.objects.get(pk=job.pk).status == "succeeded", 30)

    job.refresh_from_db()
    assert (job.files_done, job.attempts) == (len(MANY), 1)
    assert len(embeddings.texts) == 2 * (len(MANY) - done_before)
    assert Chunk.objects.count() == len(MANY)


def test_a_stopping_worker_requeues_jobs_of_nested_turns(
    alice: Any, bob: Any, embeddings: EmbeddingsServer, monkeypatch: Any
) -> None:
    """SIGTERM comes in bob's turn, which interrupts alice's job."""
    monkeypatch.setattr(stopping, "_requested", threading.Event())
    monkeypatch.setattr("rag.indexing.owner_turns.TURN_S", 0.0)
    sent: list[int] = []
    monkeypatch.setattr(queue, "enqueue", sent.append)
    first, second = waiting_job(alice, MANY[:20]), waiting_job(bob, MANY[:20])
    let_others = runner._yield_to_others

    def stop_in_bobs_turn(turn: Any, job: IndexJob | None = None) -> None:
        if job and len(turn.owners) == 2:
            stopping.request()
        let_others(turn, job)

    monkeypatch.setattr(runner, "_yield_to_others", stop_in_bobs_turn)
    runner.run(first.repository_id)
    for job in (first, second):
        job.refresh_from_db()
        assert (job.status, job.attempts) == ("running", 0)
    assert sent == [second.repository_id, first.repository_id]


def test_a_repeated_job_changes_nothing(alice: Any, embeddings: EmbeddingsServer) -> None:
    first, second = waiting_job(alice, MANY[:5]), waiting_job(alice, MANY[:5])
    runner.run(first.repository_id)
    second.refresh_from_db()
    assert (second.status, second.unchanged) == ("succeeded", 5)
    assert Chunk.objects.count() == 5


def test_a_job_that_keeps_killing_its_workers_is_ended(alice: Any, embeddings: EmbeddingsServer, settings: Any) -> None:
    job = waiting_job(alice, MANY[:5])
    IndexJob.objects.filter(pk=job.pk).update(status="running", attempts=settings.RAG_ATTEMPTS)
    runner.run(job.repository_id)
    job.refresh_from_db()
    assert (job.status, job.error_code) == ("failed", "indexing_interrupted")
    assert not Upload.objects.exists() and not File.objects.exists()


def test_a_folder_job_of_a_killed_command_is_ended(alice: Any, embeddings: EmbeddingsServer) -> None:
    job = waiting_job(alice, [])
    IndexJob.objects.filter(pk=job.pk).update(kind=JobKind.FOLDER, status="running")
    runner.run(job.repository_id)
    job.refresh_from_db()
    assert job.error_code == "indexing_interrupted"


def test_old_ended_jobs_are_deleted(alice: Any, embeddings: EmbeddingsServer) -> None:
    job = services.index_files(user=alice, repository="default", files=MANY[:1])
    assert job.finished_at
    waiting = waiting_job(alice, MANY[:1])
    jobs.delete_old(job.finished_at + jobs.ENDED_JOB_RETENTION)
    assert IndexJob.objects.count() == 2
    jobs.delete_old(job.finished_at + jobs.ENDED_JOB_RETENTION + timedelta(seconds=1))
    assert IndexJob.objects.get() == waiting


def test_surplus_ended_jobs_are_deleted_after_an_hour(
    alice: Any, bob: Any, embeddings: EmbeddingsServer, monkeypatch: Any
) -> None:
    """Jobs store skipped paths, which no tier limits."""
    monkeypatch.setattr(jobs, "MAX_ENDED_JOBS_PER_OWNER", 2)
    old = [services.index_files(user=alice, repository=f"r{n % 2}", files=MANY[:1]) for n in range(4)]
    services.index_files(user=bob, repository="default", files=MANY[:1])
    unfinished = waiting_job(alice, MANY[:1])
    jobs.delete_old()
    assert IndexJob.objects.count() == 6
    IndexJob.objects.filter(finished_at__isnull=False).update(finished_at=F("finished_at") - timedelta(hours=2))
    jobs.delete_old()
    kept = IndexJob.objects.filter(repository__user=alice)
    assert set(kept) == {*old[2:], unfinished} and IndexJob.objects.count() == 4


# -- Queueing up -------------------------------------------------------------------------------------------------------


def test_jobs_of_one_repository_run_one_after_the_other(
    alice: Any, embeddings: EmbeddingsServer, worker: StartWorker
) -> None:
    first = waiting_job(alice, [SourceFile("a.py", "def old(): pass\n"), *MANY])
    second = waiting_job(alice, [SourceFile("a.py", "def new(): pass\n")])
    with worker(), worker():
        with embeddings.blocked():
            recovery.requeue_unfinished()
            recovery.requeue_unfinished()
            embeddings.received.acquire(timeout=30)
            assert not embeddings.received.acquire(timeout=1)  # the other workers have nothing to do
            second.refresh_from_db()
            assert second.status == "queued"
        assert until(lambda: IndexJob.objects.get(pk=second.pk).status == "succeeded", 30)
    first.refresh_from_db()
    second.refresh_from_db()
    assert first.finished_at and second.started_at
    assert first.finished_at <= second.started_at
    assert Chunk.objects.get(file__path="a.py").symbol == "new"


def test_a_small_request_waits_for_an_earlier_job(alice: Any, embeddings: EmbeddingsServer) -> None:
    first = waiting_job(alice, MANY[:3])
    second = services.index_files(user=alice, repository="default", files=[source(1)])
    assert second.status == "queued"
    runner.run(first.repository_id)
    second.refresh_from_db()
    assert second.status == "succeeded"


def test_repositories_do_not_wait_for_each_other(alice: Any, embeddings: EmbeddingsServer) -> None:
    waiting_job(alice, MANY[:3], "one")
    assert services.index_files(user=alice, repository="two", files=[source(1)]).status == "succeeded"


def test_a_worker_leaves_a_locked_repository(alice: Any, embeddings: EmbeddingsServer) -> None:
    job = waiting_job(alice, MANY[:3])
    taken, leave = threading.Event(), threading.Event()

    def hold() -> None:
        with locks.try_lock(runner.LOCK_SUBJECT, job.repository_id) as acquired:
            assert acquired
            taken.set()
            leave.wait(20)
        connection.close()

    thread = threading.Thread(target=hold)
    thread.start()
    assert taken.wait(10)
    runner.run(job.repository_id)
    assert embeddings.requests == []
    leave.set()
    thread.join(10)
    runner.run(job.repository_id)
    job.refresh_from_db()
    assert job.status == "succeeded"


def test_a_job_of_a_deleted_repository_ends(alice: Any, embeddings: EmbeddingsServer) -> None:
    job = waiting_job(alice, MANY)

    def delete(_: object) -> None:
        Repository.objects.all().delete()

    runner._run_and_record(job, lambda: runner._index(job, jobs.read_uploads(job), 0, delete))
    assert not IndexJob.objects.exists() and not Chunk.objects.exists()
    with pytest.raises(UnknownRepository):
        services.delete_repository(user=alice, repository="default")


# -- Reading -----------------------------------------------------------------------------------------------------------


def test_progress_is_streamed_until_the_end(patient: Api, alice: Any, embeddings: EmbeddingsServer) -> None:
    job = waiting_job(alice, MANY)
    received: list[tuple[int, Event]] = []
    thread = threading.Thread(target=lambda: received.extend(follow(patient, alice, str(job.pk))))
    with embeddings.blocked():
        work = threading.Thread(target=run_apart, args=[job.repository_id])
        work.start()
        embeddings.received.acquire(timeout=10)
        thread.start()
        assert until(lambda: bool(Upload.objects.exists()), 5)
    work.join(30)
    thread.join(30)

    ids = [position for position, _ in received]
    assert ids == sorted(set(ids))
    assert {event["type"] for _, event in received[:-1]} <= {"progress"}
    last = received[-1][1]
    assert (last["type"], last["files"], last["filesDone"], last["chunks"]) == ("done", 90, 90, 90)
    assert last["filesPerSecond"] > 0


def test_an_ended_job_has_one_event(patient: Api, alice: Any, embeddings: EmbeddingsServer) -> None:
    job = services.index_files(user=alice, repository="default", files=[source(1), SourceFile("a.bin", "\0")])
    [(position, event)] = follow(patient, alice, str(job.pk))
    assert (event["type"], event["skipped"]) == ("done", [{"path": "a.bin", "reason": "binary"}])
    headers = {**patient.as_(alice), "Last-Event-ID": str(position)}
    assert patient.get(f"/rag/jobs/{job.pk}/events", headers=headers).status_code == 204


def test_a_failed_job_has_an_error_event(patient: Api, alice: Any, embeddings: EmbeddingsServer) -> None:
    embeddings.respond_with(400)
    job = services.index_files(user=alice, repository="default", files=[source(1)])
    [(_, event)] = follow(patient, alice, str(job.pk))
    assert (event["type"], event["code"]) == ("error", "embeddings_error")
    shown = patient.get(f"/rag/jobs/{job.pk}", headers=patient.as_(alice)).json()["data"]
    assert (shown["status"], shown["errorCode"]) == ("failed", "embeddings_error")


@pytest.mark.parametrize("path", ["/rag/jobs/{}", "/rag/jobs/{}/events"])
def test_another_users_job_is_404(
    patient: Api, alice: Any, charlie: Any, embeddings: EmbeddingsServer, path: str
) -> None:
    job = services.index_files(user=alice, repository="default", files=[source(1)])
    assert error(patient.get(path.format(job.pk), headers=patient.as_(charlie))) == (404, "not_found")
    assert error(patient.get(path.format(uuid4()), headers=patient.as_(alice))) == (404, "not_found")
    assert error(patient.get(path.format(job.pk))) == (401, "not_authenticated")


def test_a_bad_last_event_id(patient: Api, alice: Any, embeddings: EmbeddingsServer) -> None:
    job = services.index_files(user=alice, repository="default", files=[source(1)])
    headers = {**patient.as_(alice), "Last-Event-ID": "x"}
    assert error(patient.get(f"/rag/jobs/{job.pk}/events", headers=headers)) == (400, "validation_error")
