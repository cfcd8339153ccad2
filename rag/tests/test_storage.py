"""Limits of stored bytes and repositories by tier, exact under concurrency."""

import importlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from typing import Any

import pytest
from django.db import OperationalError, connection, transaction

from accounts.privacy import deletion
from billing.models import Tier
from lunaos.embedded.servers import until
from lunaos.errors import LunaError
from rag import services, storage
from rag.errors import BacklogFull, StorageLimitReached
from rag.indexing import jobs, recovery, runner, sizes, store
from rag.indexing.indexer import Progress, SourceFile
from rag.models import File, IndexJob, Repository, Upload
from rag.tests.conftest import source
from rag.tests.test_index import send
from rag.tests.test_jobs import waiting_job
from rag.tests.test_races import concurrently, waiting_sessions
from testing.client import Api, error, takes_effect
from testing.commands import run_command
from testing.loopback.embeddings import EmbeddingsServer

LINE = "value = 1  # one of many lines\n"
Allow = Callable[..., None]


def file(path: str, size: int) -> SourceFile:
    """Return a file that counts `size` bytes with its path."""
    content = (LINE * (size // len(LINE) + 1))[: size - len(path)]
    assert sizes.file_bytes(path, content) == size
    return SourceFile(path, content)


@pytest.fixture
def allow(monkeypatch: Any) -> Allow:
    """Set what every tier allows in this process."""

    def set_to(stored_bytes: int = 100_000_000, repositories: int = 1_000) -> None:
        tier = Tier(name="free", stored_bytes=stored_bytes, repositories=repositories)
        monkeypatch.setattr("billing.limits.for_owner", lambda owner: tier)

    return set_to


def index(user: Any, *files: SourceFile, repository: str = "default") -> IndexJob:
    return services.index_files(user=user, repository=repository, files=files)


def attempt(user: Any, *files: SourceFile, repository: str = "default") -> str:
    """Index files in a thread, and return the job's status or the error's code."""
    try:
        return index(user, *files, repository=repository).status
    except LunaError as e:
        return e.code
    finally:
        connection.close()


def counted_usage(user: Any) -> tuple[int, int, int]:
    """Return indexed bytes, waiting bytes and growth, compared with the rows."""
    found = storage.usage(user)
    files = File.objects.filter(repository__user=user)
    assert found.bytes == sum(file.bytes or 0 for file in files) and not sizes.counter_mismatches()
    return found.bytes, found.waiting, found.growth


# -- Counting ----------------------------------------------------------------------------------------------------------


def test_it_works(alice: Any, embeddings: EmbeddingsServer) -> None:
    index(alice, file("a.py", 1_000), file("b.py", 500))
    index(alice, file("c.py", 300), repository="other")
    assert counted_usage(alice) == (1_800, 0, 0)
    index(alice, file("a.py", 400))
    assert counted_usage(alice) == (1_200, 0, 0)
    index(alice, SourceFile("b.py", "\0"))  # skipped from now on
    assert counted_usage(alice) == (700, 0, 0)
    services.delete_repository(user=alice, repository="other")
    assert counted_usage(alice) == (400, 0, 0)


def test_an_empty_file_counts_a_minimum(alice: Any, embeddings: EmbeddingsServer) -> None:
    index(alice, SourceFile("a.py", ""), SourceFile("é.py", "é" * 300))
    assert counted_usage(alice)[0] == sizes.MIN_FILE_BYTES + 605


def test_waiting_files_count_until_they_are_indexed(alice: Any, embeddings: EmbeddingsServer) -> None:
    job = waiting_job(alice, [file("a.py", 1_000), SourceFile("b.py", None, "binary")])
    assert counted_usage(alice) == (0, 1_000, 1_000)
    runner.run(job.repository_id)
    assert counted_usage(alice) == (1_000, 0, 0)


def test_a_failed_job_frees_its_bytes(alice: Any, embeddings: EmbeddingsServer) -> None:
    embeddings.respond_with(400)
    assert index(alice, file("a.py", 1_000)).status == "failed"
    assert counted_usage(alice) == (0, 0, 0)


def test_a_deleted_job_frees_its_bytes(alice: Any, embeddings: EmbeddingsServer) -> None:
    waiting_job(alice, [file("a.py", 1_000)]).delete()
    assert counted_usage(alice) == (0, 0, 0)


def test_deleting_repository_or_account_frees_all_bytes(alice: Any, embeddings: EmbeddingsServer) -> None:
    index(alice, file("a.py", 1_000))
    waiting_job(alice, [file("b.py", 1_000)])
    services.delete_repository(user=alice, repository="default")
    assert storage.usage(alice) == storage.StorageUsage(0, 0, 0, 0)
    waiting_job(alice, [file("b.py", 1_000)])
    assert deletion.delete_account(alice)
    assert storage.usage(alice) == storage.StorageUsage(0, 0, 0, 0)


def test_a_file_never_counts_twice(alice: Any, embeddings: EmbeddingsServer, monkeypatch: Any) -> None:
    """A worker dies between the write and the report: the file is indexed, and its upload is left."""
    job = waiting_job(alice, [file("a.py", 1_000)])

    def dies(_: IndexJob, progress: Progress) -> None:
        if progress.paths:
            raise OperationalError

    with monkeypatch.context() as patched:
        patched.setattr(jobs, "record_progress", dies)
        with pytest.raises(OperationalError):
            runner.run(job.repository_id)
    assert Upload.objects.filter(job=job).exists()
    assert counted_usage(alice) == (1_000, 0, 0)
    runner.run(job.repository_id)
    assert counted_usage(alice) == (1_000, 0, 0) and not Upload.objects.exists()


def test_an_operators_folder_counts_but_is_never_refused(
    alice: Any, embeddings: EmbeddingsServer, allow: Allow, tmp_path: Any
) -> None:
    allow(stored_bytes=100, repositories=0)
    (tmp_path / "a.py").write_text(file("a.py", 1_000).content or "")
    _, removed = services.index_folder(
        user=alice, repository="f", root=tmp_path, found=["a.py"], on_progress=lambda progress: None
    )
    assert (removed, counted_usage(alice)) == (0, (1_000, 0, 0))


# -- Refusing ----------------------------------------------------------------------------------------------------------


def test_too_many_bytes_are_refused(alice: Any, embeddings: EmbeddingsServer, allow: Allow) -> None:
    """Nothing is stored, not even the repository."""
    allow(stored_bytes=1_000)
    with pytest.raises(StorageLimitReached) as refused:
        index(alice, file("a.py", 600), file("b.py", 401))
    assert refused.value.extra["resource"] == "bytes"
    assert (refused.value.extra["used"], refused.value.extra["limit"]) == (0, 1_000)
    for model in (Repository, IndexJob, Upload, File):
        assert not model._default_manager.exists()
    index(alice, file("a.py", 600), file("b.py", 400))
    assert counted_usage(alice) == (1_000, 0, 0)


def test_too_many_repositories_are_refused(alice: Any, embeddings: EmbeddingsServer, allow: Allow) -> None:
    allow(repositories=1)
    index(alice, source(1), repository="one")
    with pytest.raises(StorageLimitReached) as refused:
        index(alice, source(1), repository="two")
    assert refused.value.extra["resource"] == "repositories"
    index(alice, source(2), repository="one")
    services.delete_repository(user=alice, repository="one")
    index(alice, source(1), repository="two")


def test_above_the_limit_files_stay_readable_deletable_and_replaceable_by_smaller_ones(
    alice: Any, embeddings: EmbeddingsServer, allow: Allow
) -> None:
    index(alice, file("a.py", 1_000), file("b.py", 1_000))
    index(alice, file("a.py", 1_000), repository="other")
    allow(stored_bytes=500, repositories=1)
    assert services.search_code(user=alice, repository="default", query="value", limit=5)
    for larger in ([file("a.py", 1_001)], [file("c.py", 200)], [file("a.py", 300), file("b.py", 1_001)]):
        with pytest.raises(StorageLimitReached):
            index(alice, *larger)
    index(alice, file("a.py", 1_000))
    index(alice, file("a.py", 900), file("b.py", 900))
    assert counted_usage(alice) == (2_800, 0, 0)
    index(alice, SourceFile("a.py", "\0"))
    services.delete_repository(user=alice, repository="other")
    assert counted_usage(alice) == (900, 0, 0)


def test_an_unchanged_file_of_an_older_version_does_not_grow(
    alice: Any, embeddings: EmbeddingsServer, allow: Allow
) -> None:
    """The size was measured by the chunks, and may be some bytes short."""
    index(alice, file("a.py", 1_000))
    File.objects.update(bytes=990)
    Repository.objects.update(bytes=990)
    allow(stored_bytes=500)
    assert index(alice, file("a.py", 1_000)).unchanged == 1


def test_parallel_requests_keep_the_byte_limit_exactly(alice: Any, embeddings: EmbeddingsServer, allow: Allow) -> None:
    allow(stored_bytes=10_999)
    with ThreadPoolExecutor(12) as pool:
        names = [f"{n % 3}" for n in range(30)]
        found = list(
            pool.map(lambda n: attempt(alice, file(f"{n:02}.py", 1_000), repository=names[n]), range(len(names)))
        )
    assert found.count("storage_limit_reached") == 20, found
    for repository in Repository.objects.all():
        runner.run(repository.pk)
    assert counted_usage(alice) == (10_000, 0, 0)


def test_parallel_requests_keep_the_repository_limit_exactly(
    alice: Any, embeddings: EmbeddingsServer, allow: Allow
) -> None:
    allow(repositories=5)
    with ThreadPoolExecutor(12) as pool:
        found = list(pool.map(lambda n: attempt(alice, source(1), repository=f"r{n % 20}"), range(40)))
    assert Repository.objects.filter(user=alice).count() == 5
    assert found.count("storage_limit_reached") == 30, found


def test_freed_bytes_are_not_granted_twice(alice: Any, embeddings: EmbeddingsServer, allow: Allow) -> None:
    """One job empties a file, and the next job fills it again."""
    index(alice, file("a.py", 900))
    allow(stored_bytes=1_000)
    emptied = jobs.create(Repository.objects.get(), [file("a.py", 200)], [0])
    again = index(alice, file("a.py", 900))
    assert again.status == "queued"
    job = jobs.next_unfinished(emptied.repository_id)
    assert job == emptied
    runner._run_job(job)
    assert counted_usage(alice) == (200, 900, 0)
    with pytest.raises(BacklogFull):
        index(alice, file("b.py", 700), repository="other")
    runner.run(emptied.repository_id)
    assert counted_usage(alice) == (900, 0, 0)


def test_the_backlog_is_limited(alice: Any, bob: Any, embeddings: EmbeddingsServer, settings: Any) -> None:
    settings.RAG_BACKLOG_BYTES = 1_000
    job = waiting_job(alice, [file("a.py", 900)])
    with pytest.raises(BacklogFull) as refused:
        index(alice, file("b.py", 200), repository="other")
    assert refused.value.retry_after and refused.value.extra == {"waitingBytes": 900, "limit": 1_000}
    assert not Repository.objects.filter(name="other").exists()
    assert index(bob, file("b.py", 200)).status == "succeeded"
    runner.run(job.repository_id)
    assert (
        index(alice, file("b.py", 1_500), repository="other").status == "succeeded"
    )  # without a backlog a file may be larger


def test_parallel_requests_keep_the_backlog_limit_exactly(
    alice: Any, embeddings: EmbeddingsServer, settings: Any
) -> None:
    settings.RAG_BACKLOG_BYTES, settings.RAG_INLINE_CHARACTERS = 5_500, 0
    with ThreadPoolExecutor(10) as pool:
        found = list(pool.map(lambda n: attempt(alice, file(f"{n:02}.py", 1_000)), range(20)))
    assert (found.count("queued"), found.count("backlog_full")) == (5, 15), found
    assert counted_usage(alice) == (0, 5_000, 5_000)


# -- Over HTTP ---------------------------------------------------------------------------------------------------------


def test_storage_and_limit_errors_over_http(patient: Api, alice: Any, embeddings: EmbeddingsServer) -> None:
    index(alice, file("a.py", 1_000), repository="mine")
    large = "x = 1\n" * 10_000
    assert send(patient, alice, ("a.py", large)).status_code == 202
    refused = send(patient, alice, ("b.py", large))
    assert error(refused) == (429, "backlog_full")
    assert int(refused.headers["Retry-After"]) > 0 and refused.json()["waitingBytes"] == 60_004

    def listed() -> dict[str, Any]:
        return dict(patient.get("/rag/repositories", headers=patient.as_(alice)).json()["data"])

    data = listed()
    assert [each["bytes"] for each in data["repositories"]] == [0, 1_000]
    assert data["storage"] == {
        "bytes": 1_000,
        "waitingBytes": 60_004,
        "bytesLimit": 100_000_000,
        "repositories": 2,
        "repositoriesLimit": 5,
    }
    tier = Tier.objects.get(name="free")
    try:
        Tier.objects.filter(name="free").update(repositories=2, stored_bytes=61_100)
        assert takes_effect(lambda: listed()["storage"]["bytesLimit"] == 61_100)
        many = send(patient, alice, ("a.py", "x"), repository="third")
        bytes_ = send(patient, alice, ("c.py", "x"), repository="mine")
        for response, resource in ((many, "repositories"), (bytes_, "bytes")):
            assert error(response) == (403, "storage_limit_reached")
            body = response.json()
            assert (body["resource"], body["tier"]) == (resource, "free") and body["upgradeUrl"] and body["message"]
    finally:
        tier.save()


# -- Older rows --------------------------------------------------------------------------------------------------------


def clear_sizes() -> None:
    File.objects.update(bytes=None, measured_digest="")
    Repository.objects.update(bytes=0)
    Upload.objects.update(bytes=0, growth=0)


def test_the_migration_counts_stored_bytes(alice: Any, bob: Any, embeddings: EmbeddingsServer) -> None:
    index(alice, *(source(n) for n in range(5)), SourceFile("empty.py", ""))
    index(bob, source(1))
    waiting_job(bob, [file("b.py", 1_000), SourceFile("c.py", None, "binary")])
    before = [storage.usage(each) for each in (alice, bob)]
    clear_sizes()
    migration = importlib.import_module("rag.migrations.0005_count_stored_bytes")

    with connection.schema_editor() as editor:
        migration.count(None, editor)
        importlib.import_module("rag.migrations.0006_measured_digest").mark(None, editor)

    after = [storage.usage(each) for each in (alice, bob)]
    assert not sizes.counter_mismatches()
    for old, new in zip(before, after, strict=True):
        assert (new.waiting, new.growth, new.repositories) == (old.waiting, old.growth, old.repositories)
        assert new.bytes == pytest.approx(old.bytes, rel=0.05)


def test_recovery_measures_files_of_an_older_version(alice: Any, embeddings: EmbeddingsServer) -> None:
    index(alice, source(1), source(2))
    clear_sizes()
    recovery.requeue_unfinished()
    assert not sizes.counter_mismatches() and storage.usage(alice).bytes > 0


def test_check_storage(alice: Any, embeddings: EmbeddingsServer) -> None:
    index(alice, source(1), source(2))
    assert run_command("check_storage") == (0, "All counters agree with the files.\n", "")
    right = Repository.objects.get().bytes
    Repository.objects.update(bytes=7)
    code, _, said = run_command("check_storage")
    assert code == 1 and f"default: counted 7 bytes, stored {right}, 0 files" in said
    assert run_command("check_storage", "--repair")[0] == 0
    assert Repository.objects.get().bytes == right and run_command("check_storage")[0] == 0


def test_a_repair_during_a_write(alice: Any, embeddings: EmbeddingsServer) -> None:
    """The write waits until the repair has summed, and then adds its difference."""
    job = waiting_job(alice, [source(1)])
    Repository.objects.update(bytes=7)
    with ExitStack() as stack:
        with transaction.atomic():
            store.recount_bytes(job.repository_id)
            stack.enter_context(concurrently(partial(runner.run, job.repository_id)))
            assert until(lambda: waiting_sessions() == 1, 20)
    assert counted_usage(alice) == (File.objects.get().bytes, 0, 0)


def test_a_deletion_during_a_request(alice: Any, embeddings: EmbeddingsServer) -> None:
    """The request holds the owner's lock and waits for the repository; the deletion needs no such lock."""
    index(alice, source(1))
    with ExitStack() as stack:
        with transaction.atomic():
            services.delete_repository(user=alice, repository="default")
            taken = stack.enter_context(concurrently(partial(index, alice, source(2))))
            assert until(lambda: waiting_sessions() == 1, 20)
    assert isinstance(taken[0], IndexJob), taken
    assert counted_usage(alice)[0] > 0
