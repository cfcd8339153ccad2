"""Jobs: in a worker, one after the other, killed and taken up again; GET /rag/jobs/{id} and its events."""

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
from testing.embeddings import EmbeddingsServer
from testing.servers import daphne

MANY = [source(n) for n in range(90)]


def submit(api: Api, user: Any, files: list[SourceFile], **more: Any) -> Any:
    """A request that is too large to be done at once."""
    return send(api, user, *((file.path, file.content or "") for file in files), **more)


def waiting_job(user: Any, files: list[SourceFile], repository: str = "default") -> IndexJob:
    """A job that nobody has begun."""
    return jobs.create(services.open_repository(user, repository), files)


def run_apart(repository_id: int) -> None:
    """In a thread, whose connection ends with it."""
    runner.run(repository_id)
    connection.close()


def follow(api: Api, user: Any, job_id: str, **headers: str) -> list[tuple[int, Event]]:
    """Return a job's events to the end, with their ids."""
    response = api.get(f"/rag/jobs/{job_id}/events", headers={**api.as_(user), **headers})
    return list(zip(*parse(response.text), strict=True))


def test_a_worker_does_it_while_the_request_waits(patient: Api, alice: Any, worker: StartWorker) -> None:
    with worker():
        job = submit(patient, alice, MANY[:3]).json()["data"]
        assert until(lambda: IndexJob.objects.get(repository__user=alice).status == "succeeded", 20)
    again = submit(patient, alice, MANY[:3])
    assert job  # 200 or, while the worker was starting, 202
    assert again.status_code in (200, 202)


def test_a_request_that_waits_gets_the_contracts_answer(
    alice: Any, embeddings: EmbeddingsServer, tmp_path: Path
) -> None:
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


def test_past_the_waiting_time_it_is_202_with_the_job(patient: Api, alice: Any, embeddings: EmbeddingsServer) -> None:
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


def test_a_killed_job_goes_on_elsewhere_without_duplicates(
    alice: Any, embeddings: EmbeddingsServer, worker: StartWorker
) -> None:
    job = waiting_job(alice, MANY)
    with worker() as process:
        with embeddings.hold_requests(after=8):
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
    assert len(embeddings.texts) == 2 * (len(MANY) - done_before)  # what had been done was not done again
    assert Chunk.objects.count() == len(MANY)
    assert not Upload.objects.exists()


def asked_to_stop(process: Any) -> int:
    """The exit code of a worker that gets SIGTERM, and is given less time than any installation gives it."""
    process.send_signal(signal.SIGTERM)
    return int(process.wait(10))


def test_a_worker_that_is_asked_to_stop_hands_its_job_back(
    alice: Any, embeddings: EmbeddingsServer, worker: StartWorker
) -> None:
    """While the model has not answered a request; another worker goes on without being told by beat."""
    job = waiting_job(alice, MANY)
    with worker() as process, embeddings.hold_requests(after=8):
        recovery.requeue_unfinished()
        assert all(embeddings.received.acquire(timeout=30) for _ in range(9))
        assert asked_to_stop(process) == 0
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


def test_a_job_in_anothers_turn_is_handed_back_too(
    alice: Any, bob: Any, embeddings: EmbeddingsServer, monkeypatch: Any
) -> None:
    """The worker is asked to stop in bob's turn, which lies on top of alice's job."""
    monkeypatch.setattr(stopping, "_asked", threading.Event())
    monkeypatch.setattr("rag.indexing.owner_turns.TURN_S", 0.0)
    sent: list[int] = []
    monkeypatch.setattr(queue, "enqueue", sent.append)
    first, second = waiting_job(alice, MANY[:20]), waiting_job(bob, MANY[:20])
    let_others = runner._let_others

    def stop_in_bobs_turn(turn: Any, job: IndexJob | None = None) -> None:
        if job and len(turn.owners) == 2:
            stopping.ask()
        let_others(turn, job)

    monkeypatch.setattr(runner, "_let_others", stop_in_bobs_turn)
    runner.run(first.repository_id)
    for job in (first, second):
        job.refresh_from_db()
        assert (job.status, job.attempts) == ("running", 0)
    assert sent == [second.repository_id, first.repository_id]


def test_a_job_that_was_broken_off_between_two_writes_repeats_itself(alice: Any, embeddings: EmbeddingsServer) -> None:
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


def test_a_folders_job_whose_command_was_killed_is_ended(alice: Any, embeddings: EmbeddingsServer) -> None:
    job = waiting_job(alice, [])
    IndexJob.objects.filter(pk=job.pk).update(kind=JobKind.FOLDER, status="running")
    runner.run(job.repository_id)
    job.refresh_from_db()
    assert job.error_code == "indexing_interrupted"


def test_jobs_that_ended_long_ago_are_forgotten(alice: Any, embeddings: EmbeddingsServer) -> None:
    job = services.index(user=alice, repository="default", files=MANY[:1])
    assert job.finished_at
    waiting = waiting_job(alice, MANY[:1])
    jobs.forget_old(job.finished_at + jobs.KEPT)
    assert IndexJob.objects.count() == 2
    jobs.forget_old(job.finished_at + jobs.KEPT + timedelta(seconds=1))
    assert IndexJob.objects.get() == waiting


def test_an_owner_keeps_so_many_ended_jobs_and_those_of_the_last_hour(
    alice: Any, bob: Any, embeddings: EmbeddingsServer, monkeypatch: Any
) -> None:
    """Each keeps the paths that it left out: jobs would be room without a limit."""
    monkeypatch.setattr(jobs, "MAX_ENDED_JOBS", 2)
    old = [services.index(user=alice, repository=f"r{n % 2}", files=MANY[:1]) for n in range(4)]
    services.index(user=bob, repository="default", files=MANY[:1])
    unfinished = waiting_job(alice, MANY[:1])
    jobs.forget_old()
    assert IndexJob.objects.count() == 6
    IndexJob.objects.filter(finished_at__isnull=False).update(finished_at=F("finished_at") - timedelta(hours=2))
    jobs.forget_old()
    mine = IndexJob.objects.filter(repository__user=alice)
    assert set(mine) == {*old[2:], unfinished} and IndexJob.objects.count() == 4


# -- Queueing up -------------------------------------------------------------------------------------------------------


def test_jobs_of_one_repository_queue_up(alice: Any, embeddings: EmbeddingsServer, worker: StartWorker) -> None:
    first = waiting_job(alice, [SourceFile("a.py", "def old(): pass\n"), *MANY])
    second = waiting_job(alice, [SourceFile("a.py", "def new(): pass\n")])
    with worker(), worker():
        with embeddings.hold_requests():
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


def test_a_small_request_queues_up_behind_a_large_one(alice: Any, embeddings: EmbeddingsServer) -> None:
    first = waiting_job(alice, MANY[:3])
    second = services.index(user=alice, repository="default", files=[source(1)])
    assert second.status == "queued"
    runner.run(first.repository_id)
    second.refresh_from_db()
    assert second.status == "succeeded"


def test_repositories_do_not_wait_for_each_other(alice: Any, embeddings: EmbeddingsServer) -> None:
    waiting_job(alice, MANY[:3], "one")
    assert services.index(user=alice, repository="two", files=[source(1)]).status == "succeeded"


def test_who_finds_a_repository_taken_leaves_it(alice: Any, embeddings: EmbeddingsServer) -> None:
    job = waiting_job(alice, MANY[:3])
    taken, leave = threading.Event(), threading.Event()

    def hold() -> None:
        with locks.try_lock(runner.SUBJECT, job.repository_id) as mine:
            assert mine
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


def test_a_repository_deleted_meanwhile(alice: Any, embeddings: EmbeddingsServer) -> None:
    job = waiting_job(alice, MANY)

    def delete(_: object) -> None:
        Repository.objects.all().delete()

    runner._guarded(job, lambda: runner._index(job, jobs.uploads(job), 0, delete))
    assert not IndexJob.objects.exists() and not Chunk.objects.exists()
    with pytest.raises(UnknownRepository):
        services.delete(user=alice, repository="default")


# -- Reading -----------------------------------------------------------------------------------------------------------


def test_progress_is_streamed_until_the_end(patient: Api, alice: Any, embeddings: EmbeddingsServer) -> None:
    job = waiting_job(alice, MANY)
    told: list[tuple[int, Event]] = []
    thread = threading.Thread(target=lambda: told.extend(follow(patient, alice, str(job.pk))))
    with embeddings.hold_requests():
        work = threading.Thread(target=run_apart, args=[job.repository_id])
        work.start()
        embeddings.received.acquire(timeout=10)
        thread.start()
        assert until(lambda: bool(Upload.objects.exists()), 5)
    work.join(30)
    thread.join(30)

    ids = [position for position, _ in told]
    assert ids == sorted(set(ids))
    assert {event["type"] for _, event in told[:-1]} <= {"progress"}
    last = told[-1][1]
    assert (last["type"], last["files"], last["filesDone"], last["chunks"]) == ("done", 90, 90, 90)
    assert last["filesPerSecond"] > 0


def test_a_job_that_has_ended_is_told_once(patient: Api, alice: Any, embeddings: EmbeddingsServer) -> None:
    job = services.index(user=alice, repository="default", files=[source(1), SourceFile("a.bin", "\0")])
    [(position, event)] = follow(patient, alice, str(job.pk))
    assert (event["type"], event["skipped"]) == ("done", [{"path": "a.bin", "reason": "binary"}])
    headers = {**patient.as_(alice), "Last-Event-ID": str(position)}
    assert patient.get(f"/rag/jobs/{job.pk}/events", headers=headers).status_code == 204


def test_a_failed_job_is_told_as_an_error(patient: Api, alice: Any, embeddings: EmbeddingsServer) -> None:
    embeddings.respond_with(400)
    job = services.index(user=alice, repository="default", files=[source(1)])
    [(_, event)] = follow(patient, alice, str(job.pk))
    assert (event["type"], event["code"]) == ("error", "embeddings_error")
    shown = patient.get(f"/rag/jobs/{job.pk}", headers=patient.as_(alice)).json()["data"]
    assert (shown["status"], shown["errorCode"]) == ("failed", "embeddings_error")


@pytest.mark.parametrize("path", ["/rag/jobs/{}", "/rag/jobs/{}/events"])
def test_another_users_job_is_404(
    patient: Api, alice: Any, charlie: Any, embeddings: EmbeddingsServer, path: str
) -> None:
    job = services.index(user=alice, repository="default", files=[source(1)])
    assert error(patient.get(path.format(job.pk), headers=patient.as_(charlie))) == (404, "not_found")
    assert error(patient.get(path.format(uuid4()), headers=patient.as_(alice))) == (404, "not_found")
    assert error(patient.get(path.format(job.pk))) == (401, "not_authenticated")


def test_a_bad_last_event_id(patient: Api, alice: Any, embeddings: EmbeddingsServer) -> None:
    job = services.index(user=alice, repository="default", files=[source(1)])
    headers = {**patient.as_(alice), "Last-Event-ID": "x"}
    assert error(patient.get(f"/rag/jobs/{job.pk}/events", headers=headers)) == (400, "validation_error")
