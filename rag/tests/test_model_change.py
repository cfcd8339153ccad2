"""A change of the embedding model: errors, `manage.py reindex`, and search meanwhile."""

import io
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from lunaos.embedded.servers import until
from rag import services
from rag.errors import ReindexRequired
from rag.indexing import runner
from rag.models import Chunk, IndexJob, Repository, Vector
from rag.search import search, vectors
from rag.tests.conftest import StartWorker, source
from rag.tests.test_index import send
from testing.client import Api, error
from testing.loopback.embeddings import EmbeddingsServer

OLD = "all-minilm-l6-v2"
NEW = "larger-model"
FILES = [source(n) for n in range(40)]


@pytest.fixture
def indexed(alice: Any, embeddings: EmbeddingsServer) -> Repository:
    """Return a repository with vectors of the old model."""
    services.index_files(user=alice, repository="default", files=FILES)
    return Repository.objects.get(user=alice)


@pytest.fixture
def newer(indexed: Repository, settings: Any, embeddings: EmbeddingsServer) -> Any:
    """Configure a new model of another dimension on a second server, and return that server."""
    with EmbeddingsServer(dimension=512) as server:
        server.models, embeddings.models = {NEW}, {OLD}
        settings.EMBEDDINGS_PREVIOUS_BASE_URL = embeddings.base_url
        settings.EMBEDDINGS_BASE_URL, settings.EMBEDDINGS_MODEL = server.base_url, NEW
        settings.EMBEDDINGS_DIMENSION = 512
        yield server
        vectors.drop_index(NEW)


def reindex(*arguments: str) -> str:
    output = io.StringIO()
    call_command("reindex", *arguments, stdout=output)
    return output.getvalue()


def found(user: Any) -> list[str]:
    return [
        hit.symbol for hit in services.search_code(user=user, repository="default", query="function 7 step 7", limit=1)
    ]


def test_indexing_requires_a_reindex(alice: Any, indexed: Repository, newer: EmbeddingsServer) -> None:
    with pytest.raises(ReindexRequired, match=r"manage\.py reindex"):
        services.index_files(user=alice, repository="default", files=FILES)
    assert IndexJob.objects.count() == 1
    assert newer.requests == []


def test_the_error_over_http(patient: Api, alice: Any, embeddings: EmbeddingsServer) -> None:
    services.index_files(user=alice, repository="default", files=FILES[:1])
    Repository.objects.update(model="model-of-old")
    response = send(patient, alice, ("a.py", "x = 1\n"))
    assert error(response) == (409, "reindex_required")
    assert "model-of-old" in response.json()["error"]


def test_search_uses_the_old_vectors(alice: Any, indexed: Repository, newer: EmbeddingsServer) -> None:
    assert found(alice) == ["function_7"]
    assert newer.requests == []


def test_search_without_the_old_model_requires_a_reindex(
    alice: Any, indexed: Repository, newer: EmbeddingsServer, settings: Any
) -> None:
    settings.EMBEDDINGS_PREVIOUS_BASE_URL = ""
    with pytest.raises(ReindexRequired):
        found(alice)


def test_reindexing_in_the_background(
    alice: Any, indexed: Repository, newer: EmbeddingsServer, embeddings: EmbeddingsServer, worker: StartWorker
) -> None:
    changes = {
        "EMBEDDINGS_BASE_URL": newer.base_url,
        "EMBEDDINGS_MODEL": NEW,
        "EMBEDDINGS_DIMENSION": "512",
        "EMBEDDINGS_PREVIOUS_BASE_URL": embeddings.base_url,
    }
    with worker(**changes):
        with newer.blocked(after=1):
            assert "1 repository is moving to larger-model." in reindex()
            assert all(newer.received.acquire(timeout=30) for _ in range(2))
            assert "0 repositories are moving to larger-model; 1 have a running job already." in reindex()
            assert found(alice) == ["function_7"]  # by the old vectors during the reindex
        assert until(lambda: Repository.objects.get(pk=indexed.pk).model == NEW, 20)
        job = IndexJob.objects.get(kind="reindex")
        assert until(lambda: IndexJob.objects.get(pk=job.pk).status == "succeeded", 20)

    assert found(alice) == ["function_7"]
    assert set(Vector.objects.values_list("model", flat=True)) == {NEW}
    assert Vector.objects.count() == Chunk.objects.count() == 40
    assert services.index_files(user=alice, repository="default", files=FILES).unchanged == 40


def test_an_interrupted_reindex_keeps_its_vectors(
    alice: Any, indexed: Repository, newer: EmbeddingsServer, monkeypatch: Any
) -> None:
    monkeypatch.setattr("rag.indexing.reindexing.BATCH_CHUNKS", 10)
    [job] = services.start_reindexing([indexed])

    def dies(*_: Any) -> None:
        raise KeyboardInterrupt  # like a kill: no outcome is written

    with monkeypatch.context() as patch:
        patch.setattr("rag.indexing.jobs.record_progress", dies)
        with pytest.raises(KeyboardInterrupt):
            runner.run(indexed.pk)
    assert Vector.objects.filter(model=NEW).count() == 10
    newer.requests.clear()
    runner.run(indexed.pk)

    job.refresh_from_db()
    assert job.status == "succeeded"
    assert len(newer.texts) == 2 * 30
    assert Vector.objects.filter(model=OLD).count() == 0


def test_a_reindex_that_fails_leaves_the_old_model(alice: Any, indexed: Repository, newer: EmbeddingsServer) -> None:
    newer.respond_with(400)
    [job] = services.start_reindexing([indexed])
    runner.run(indexed.pk)
    job.refresh_from_db()
    assert (job.status, job.error_code) == ("failed", "embeddings_error")
    assert found(alice) == ["function_7"]


def test_vectors_of_an_unexpected_dimension_fail_the_job(alice: Any, newer: EmbeddingsServer, settings: Any) -> None:
    settings.EMBEDDINGS_DIMENSION = 256
    job = services.index_files(user=alice, repository="new", files=FILES[:1])
    assert (job.error_code, job.error) == (
        "embeddings_error",
        "The embedding model's vectors have 512 dimensions, not 256.",
    )


def test_an_empty_repository_changes_its_model_without_a_reindex(alice: Any, newer: EmbeddingsServer) -> None:
    Repository.objects.create(user=alice, name="empty", model=OLD)
    assert services.index_files(user=alice, repository="empty", files=FILES[:1]).status == "succeeded"
    assert Repository.objects.get(name="empty").model == NEW


def test_two_models_have_an_index_each(alice: Any, indexed: Repository, newer: EmbeddingsServer) -> None:
    services.index_files(user=alice, repository="new", files=FILES)
    names = {vectors.index_name(OLD), vectors.index_name(NEW)}
    with connection.cursor() as cursor:
        cursor.execute("SELECT indexname FROM pg_indexes WHERE tablename = 'rag_vector'")
        assert names <= {row[0] for row in cursor.fetchall()}
    repository = Repository.objects.get(name="new")
    assert search.search(repository, "function 7", 1)[0].symbol == "function_7"


def test_reindex_options_filter_repositories(alice: Any, indexed: Repository, newer: EmbeddingsServer) -> None:
    assert "0 repositories" in reindex("--user", "nobody@example.com")
    assert "0 repositories" in reindex("--repository", "other")
    assert "1 repository" in reindex("--user", alice.email, "--repository", "default")


def test_reindex_without_a_server_fails(indexed: Repository, settings: Any) -> None:
    settings.EMBEDDINGS_BASE_URL = ""
    with pytest.raises(CommandError, match="No embedding model"):
        reindex()
