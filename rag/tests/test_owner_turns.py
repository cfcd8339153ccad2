"""Tests of owners' turns: a small job does not wait for another owner's backlog."""

import itertools
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from rag import services
from rag.indexing import jobs, owner_turns, runner, store
from rag.indexing.indexer import SourceFile
from rag.models import Chunk, File, IndexJob, Repository, Vector
from rag.tests.conftest import source
from rag.tests.test_jobs import waiting_job
from testing.loopback.embeddings import EmbeddingsServer

# Each function is a chunk: those of a file are written together, long after the first has been embedded.
LARGE = SourceFile("Large.java", "".join(f"class A{n} {{ int b() {{ return {n}; }} }}\n" for n in range(70)))


@pytest.fixture
def written(monkeypatch: Any) -> list[str]:
    """Return the names of the owners whose files were written, in order."""
    found: list[str] = []
    replace = store.replace_file

    def note(repository: Repository, *args: Any) -> None:
        found.append(repository.user.name.lower())
        replace(repository, *args)

    monkeypatch.setattr(store, "replace_file", note)
    return found


@pytest.fixture
def sent(monkeypatch: Any) -> list[int]:
    """Return the repositories enqueued for workers."""
    found: list[int] = []
    monkeypatch.setattr("rag.indexing.queue.enqueue", found.append)
    return found


@pytest.fixture
def short(monkeypatch: Any, sent: list[int], embeddings: EmbeddingsServer) -> None:
    """Measure time in requests to the model; a turn is two requests and ends with a write."""
    monkeypatch.setattr(owner_turns, "time", SimpleNamespace(monotonic=lambda: float(len(embeddings.requests))))
    monkeypatch.setattr(owner_turns, "TURN_S", 2.0)
    monkeypatch.setattr(owner_turns, "_next_turn_at", {})


def statuses() -> set[tuple[str, int]]:
    return set(IndexJob.objects.values_list("status", "attempts"))


def test_a_small_job_runs_in_the_middle_of_another_owners_file(
    alice: Any, bob: Any, embeddings: EmbeddingsServer, written: list[str], short: None
) -> None:
    large = waiting_job(alice, [LARGE])
    waiting_job(bob, [source(1)])
    runner.run(large.repository_id)
    assert written == ["bob", "alice"]
    assert statuses() == {("succeeded", 1)}
    assert len(embeddings.texts) == 2 * (Chunk.objects.count())  # no chunk was embedded twice


def test_backlogs_of_several_owners_shrink_evenly(
    alice: Any, bob: Any, carol: Any, embeddings: EmbeddingsServer, written: list[str], short: None, settings: Any
) -> None:
    files = [SourceFile(f"{n}.java", LARGE.content) for n in range(settings.RAG_ATTEMPTS + 2)]
    first, *others = [waiting_job(user, files) for user in (alice, bob, carol)]
    runner.run(first.repository_id)
    for name in ("bob", "carol"):
        assert len(files) - 2 <= written.count(name) <= len(files), written
    assert {each for each, _ in statuses()} <= {"succeeded", "running"}
    for job in others:
        runner.run(job.repository_id)
    assert statuses() == {("succeeded", 1)}
    assert File.objects.count() == len(written) == 3 * len(files)


def test_a_worker_runs_the_rest_of_an_ended_turn(
    alice: Any, bob: Any, embeddings: EmbeddingsServer, written: list[str], short: None, sent: list[int]
) -> None:
    first = waiting_job(alice, [LARGE])
    second = waiting_job(bob, [SourceFile(f"{n}.java", LARGE.content) for n in range(5)])
    runner.run(first.repository_id)
    assert written == ["bob", "alice"]
    second.refresh_from_db()
    assert (second.status, second.attempts, second.files_done) == ("running", 0, 1)
    assert sent == [second.repository_id]
    runner.run(second.repository_id)
    second.refresh_from_db()
    assert (second.status, second.files_done, second.attempts) == ("succeeded", 5, 1)


def test_jobs_of_unchanged_files_yield_too(
    alice: Any, bob: Any, embeddings: EmbeddingsServer, monkeypatch: Any, sent: list[int]
) -> None:
    clock = itertools.count()
    monkeypatch.setattr(owner_turns, "time", SimpleNamespace(monotonic=lambda: float(next(clock))))
    unchanged = [waiting_job(alice, [source(1)]) for _ in range(8)]
    small = waiting_job(bob, [source(1)])
    runner.run(unchanged[0].repository_id)
    small.refresh_from_db()
    unchanged[-1].refresh_from_db()
    assert small.finished_at and unchanged[-1].finished_at and small.finished_at < unchanged[-1].finished_at
    assert statuses() == {("succeeded", 1)}


def test_one_owners_repositories_do_not_interrupt_each_other(
    alice: Any, embeddings: EmbeddingsServer, short: None
) -> None:
    first, second = waiting_job(alice, [LARGE], "one"), waiting_job(alice, [source(1)], "two")
    runner.run(first.repository_id)
    second.refresh_from_db()
    assert second.status == "queued"


def test_a_yielding_job_loses_no_attempt(
    alice: Any, bob: Any, embeddings: EmbeddingsServer, monkeypatch: Any, short: None
) -> None:
    """The other owner's job may kill the worker."""
    large = waiting_job(alice, [LARGE])
    waiting_job(bob, [source(1)])
    seen: list[int] = []
    until_over: Callable[..., None] = runner._run_until_over

    def look(*args: Any) -> None:
        large.refresh_from_db()
        seen.append(large.attempts)
        until_over(*args)

    monkeypatch.setattr(runner, "_run_until_over", look)
    runner.run(large.repository_id)
    large.refresh_from_db()
    assert (seen[0], large.attempts) == (0, 1)


def test_reindex_jobs_yield_too(
    alice: Any, bob: Any, embeddings: EmbeddingsServer, written: list[str], short: None
) -> None:
    job = waiting_job(alice, [LARGE])
    runner.run(job.repository_id)
    Repository.objects.update(model="another")
    [reindex] = services.start_reindexing(list(Repository.objects.all()))
    Vector.objects.all().delete()
    waiting_job(bob, [source(1)])
    written.clear()
    runner.run(reindex.repository_id)
    assert written == ["bob"]
    assert statuses() == {("succeeded", 1)}


def test_the_longest_waiting_owner_is_first(
    alice: Any, bob: Any, carol: Any, embeddings: EmbeddingsServer, monkeypatch: Any
) -> None:
    for user in (alice, bob, carol):
        waiting_job(user, [source(1)])
    monkeypatch.setattr(owner_turns, "_next_turn_at", {bob.pk: 1.0})
    assert [owner for owner, _ in owner_turns.waiting_owners(excluding=[alice.pk])] == [carol.pk, bob.pk]
    assert jobs.next_unfinished(owner_turns.waiting_owners(excluding=[alice.pk, bob.pk])[0][1])
