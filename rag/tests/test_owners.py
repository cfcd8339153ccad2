"""Two owners with the same repository name and the same paths: nothing crosses, on any way."""

from typing import Any

import pytest

from rag import services
from rag.errors import UnknownRepository
from rag.indexing import store
from rag.indexing.indexer import SourceFile
from rag.models import Chunk, File, IndexJob, Repository, Term
from rag.search import search
from rag.tests.conftest import source
from rag.tests.test_grounding import asked
from rag.tests.test_index import index
from rag.tests.test_jobs import follow, waiting_job
from testing.client import Api, error, events
from testing.embeddings import EmbeddingsServer
from testing.upstream import Upstream

NAME = "acme/api"
PATH = "src/keys.py"


def secret_of(name: str) -> str:
    return f"def master_key():\n    return 'the secret of {name}'\n"


@pytest.fixture
def both(patient: Api, alice: Any, charlie: Any) -> Api:
    """Each has the same name, path and function; only the secret differs."""
    for user in (alice, charlie):
        index(patient, user, (PATH, secret_of(user.name)), repository=NAME)
    return patient


def found(api: Api, user: Any, query: str) -> list[str]:
    body = {"query": query, "repository": NAME, "limit": 20}
    response = api.post("/rag/search", json=body, headers=api.as_(user))
    return [hit["content"] for hit in response.json()["data"]["results"]]


def test_it_works(both: Api, alice: Any, charlie: Any) -> None:
    for user in (alice, charlie):
        for query in ("master key", "the secret of Alice", "the secret of Charlie", PATH):
            assert found(both, user, query) == [secret_of(user.name).rstrip()]


def test_equal_content_of_another_is_not_unchanged(
    both: Api, alice: Any, charlie: Any, embeddings: EmbeddingsServer
) -> None:
    """Who sends what another has indexed learns nothing of it: it is new, and costs as much."""
    embeddings.reset()
    answer = index(both, charlie, (PATH, secret_of(alice.name)), repository=NAME)
    assert (answer["indexed"], answer["unchanged"]) == (1, 0)
    assert len(embeddings.texts) == 2
    assert found(both, alice, "secret") == [secret_of(alice.name).rstrip()]


def test_each_sees_and_deletes_their_own(both: Api, alice: Any, charlie: Any) -> None:
    index(both, alice, ("more.py", "x = 1\n"), repository=NAME)
    for user, files in ((alice, 2), (charlie, 1)):
        [repository] = both.get("/rag/repositories", headers=both.as_(user)).json()["data"]["repositories"]
        assert (repository["name"], repository["files"]) == (NAME, files)

    assert both.delete(f"/rag/repositories/{NAME}", headers=both.as_(charlie)).status_code == 200

    assert found(both, alice, "secret") == [secret_of(alice.name).rstrip(), "x = 1"]
    assert set(File.objects.values_list("repository__user", flat=True)) == {alice.pk}


def test_a_file_that_has_gone_from_one_stays_with_the_other(both: Api, alice: Any, charlie: Any) -> None:
    index(both, charlie, (PATH, "\0"), repository=NAME)
    assert found(both, charlie, "secret") == []
    assert found(both, alice, "secret") == [secret_of(alice.name).rstrip()]
    store.remove(Repository.objects.get(user=charlie), [PATH])
    assert File.objects.get().repository.user == alice


def test_jobs_are_their_owners(both: Api, alice: Any, charlie: Any) -> None:
    mine, theirs = (IndexJob.objects.get(repository__user=user) for user in (alice, charlie))
    assert follow(both, alice, str(mine.pk))[-1][1]["type"] == "done"
    for path in (f"/rag/jobs/{theirs.pk}", f"/rag/jobs/{theirs.pk}/events"):
        assert error(both.get(path, headers=both.as_(alice))) == (404, "not_found")


def test_names_of_others_are_not_told(both: Api, alice: Any, charlie: Any) -> None:
    index(both, charlie, ("a.py", "x = 1\n"), repository="of-charlie")
    body = {"query": "x", "repository": "of-charlie"}
    response = both.post("/rag/search", json=body, headers=both.as_(alice))
    assert error(response) == (404, "unknown_repository")
    assert response.json()["available"] == [NAME]


def test_rare_words_are_counted_for_each_alone(alice: Any, charlie: Any, embeddings: EmbeddingsServer) -> None:
    """What is common with one may be rare with another; the weights, and so the scores, tell nothing of others."""
    handlers = [SourceFile(f"{n}.py", f"def handle_{n}(ledger):\n    return ledger\n") for n in range(12)]
    for user, files in ((alice, [*handlers[:1], *map(source, range(11))]), (charlie, handlers)):
        services.index(user=user, repository=NAME, files=files)
    weights = [search._weigh(Repository.objects.get(user=user), "ledger")[0]["ledger"] for user in (alice, charlie)]
    assert weights[0] > 10 * weights[1]
    before = services.find(user=alice, repository=NAME, query="ledger", limit=20)
    services.index(user=charlie, repository=NAME, files=[source(n) for n in range(50)])
    assert services.find(user=alice, repository=NAME, query="ledger", limit=20) == before


def test_words_of_one_are_none_of_the_others(both: Api, alice: Any, charlie: Any) -> None:
    """In the index of words each bears its repository, as in the count of them."""
    for user in (alice, charlie):
        repository = Repository.objects.get(user=user)
        words = set(Term.objects.filter(repository=repository).values_list("word", flat=True))
        assert f"{repository.pk}:key" in words
        assert all(word.startswith(f"{repository.pk}:") for word in words)


def test_an_agent_is_given_its_users_passages(api: Api, alice: Any, charlie: Any, upstream: Upstream) -> None:
    for user in (alice, charlie):
        index(api, user, (PATH, secret_of(user.name)), repository=NAME)
    for user, other in ((alice, charlie), (charlie, alice)):
        stream = events(api.execute(user, context="What is the master key?", useRag=True, repository=NAME))
        assert [source["path"] for event in stream if event["type"] == "rag" for source in event["sources"]] == [PATH]
        assert f"the secret of {user.name}" in asked(upstream)
        assert f"the secret of {other.name}" not in asked(upstream)


def test_a_chain_is_refused_anothers_repository(api: Api, alice: Any, charlie: Any, upstream: Upstream) -> None:
    index(api, alice, (PATH, secret_of(alice.name)), repository=NAME)
    body = {"steps": [{"agent": "code-review"}], "context": "x", "useRag": True, "repository": NAME}
    assert error(api.post("/chains/execute", json=body, headers=api.as_(charlie))) == (404, "unknown_repository")
    assert upstream.requests == []


def test_one_owners_job_does_not_hold_up_the_others(alice: Any, charlie: Any, embeddings: EmbeddingsServer) -> None:
    """Names are equal, repositories are not: the lock is of one of them."""
    waiting_job(alice, [source(1)], NAME)
    assert services.index(user=charlie, repository=NAME, files=[source(1)]).status == "succeeded"
    assert not Chunk.objects.filter(repository__user=alice).exists()


def test_a_deleted_user_takes_only_their_own_along(both: Api, alice: Any, charlie: Any) -> None:
    charlie.delete()
    assert found(both, alice, "secret") == [secret_of(alice.name).rstrip()]
    with pytest.raises(UnknownRepository):
        services.locate(user=alice, repository="other")
    assert set(Chunk.objects.values_list("repository__user", flat=True)) == {alice.pk}
