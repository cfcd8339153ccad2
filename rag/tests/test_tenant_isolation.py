"""Two owners with equal repository names and paths share nothing."""

from typing import Any

import pytest

from rag import services
from rag.errors import UnknownRepository
from rag.indexing import store
from rag.indexing.indexer import SourceFile
from rag.models import Chunk, File, IndexJob, Repository, Term
from rag.search import search
from rag.tests.conftest import source
from rag.tests.test_grounding import sent_prompt
from rag.tests.test_index import index
from rag.tests.test_jobs import follow, waiting_job
from testing.client import Api, error, events
from testing.loopback.embeddings import EmbeddingsServer
from testing.loopback.upstream import Upstream

NAME = "acme/api"
PATH = "src/keys.py"


def secret_of(name: str) -> str:
    return f"def master_key():\n    return 'the secret of {name}'\n"


@pytest.fixture
def both(patient: Api, alice: Any, charlie: Any) -> Api:
    """Index the same name, path and function for two owners, with different secrets."""
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


def test_another_owners_equal_file_is_not_unchanged(
    both: Api, alice: Any, charlie: Any, embeddings: EmbeddingsServer
) -> None:
    """Sending another owner's file reveals nothing: the file is new and costs as much."""
    embeddings.reset()
    answer = index(both, charlie, (PATH, secret_of(alice.name)), repository=NAME)
    assert (answer["indexed"], answer["unchanged"]) == (1, 0)
    assert len(embeddings.texts) == 2
    assert found(both, alice, "secret") == [secret_of(alice.name).rstrip()]


def test_owners_list_and_delete_their_own_repository(both: Api, alice: Any, charlie: Any) -> None:
    index(both, alice, ("more.py", "x = 1\n"), repository=NAME)
    for user, files in ((alice, 2), (charlie, 1)):
        [repository] = both.get("/rag/repositories", headers=both.as_(user)).json()["data"]["repositories"]
        assert (repository["name"], repository["files"]) == (NAME, files)

    assert both.delete(f"/rag/repositories/{NAME}", headers=both.as_(charlie)).status_code == 200

    assert found(both, alice, "secret") == [secret_of(alice.name).rstrip(), "x = 1"]
    assert set(File.objects.values_list("repository__user", flat=True)) == {alice.pk}


def test_removing_a_file_leaves_the_other_owners_file(both: Api, alice: Any, charlie: Any) -> None:
    index(both, charlie, (PATH, "\0"), repository=NAME)
    assert found(both, charlie, "secret") == []
    assert found(both, alice, "secret") == [secret_of(alice.name).rstrip()]
    store.remove_files(Repository.objects.get(user=charlie), [PATH])
    assert File.objects.get().repository.user == alice


def test_another_owners_job_is_404(both: Api, alice: Any, charlie: Any) -> None:
    own, other = (IndexJob.objects.get(repository__user=user) for user in (alice, charlie))
    assert follow(both, alice, str(own.pk))[-1][1]["type"] == "done"
    for path in (f"/rag/jobs/{other.pk}", f"/rag/jobs/{other.pk}/events"):
        assert error(both.get(path, headers=both.as_(alice))) == (404, "not_found")


def test_errors_do_not_reveal_other_owners_names(both: Api, alice: Any, charlie: Any) -> None:
    index(both, charlie, ("a.py", "x = 1\n"), repository="of-charlie")
    body = {"query": "x", "repository": "of-charlie"}
    response = both.post("/rag/search", json=body, headers=both.as_(alice))
    assert error(response) == (404, "unknown_repository")
    assert response.json()["available"] == [NAME]


def test_word_weights_do_not_depend_on_other_owners(alice: Any, charlie: Any, embeddings: EmbeddingsServer) -> None:
    """A word may be common with one owner and rare with another; scores do not reveal it."""
    handlers = [SourceFile(f"{n}.py", f"def handle_{n}(ledger):\n    return ledger\n") for n in range(12)]
    for user, files in ((alice, [*handlers[:1], *map(source, range(11))]), (charlie, handlers)):
        services.index_files(user=user, repository=NAME, files=files)
    weights = [
        search._weigh_words(Repository.objects.get(user=user), "ledger")[0]["ledger"] for user in (alice, charlie)
    ]
    assert weights[0] > 10 * weights[1]
    before = services.search_code(user=alice, repository=NAME, query="ledger", limit=20)
    services.index_files(user=charlie, repository=NAME, files=[source(n) for n in range(50)])
    assert services.search_code(user=alice, repository=NAME, query="ledger", limit=20) == before


def test_terms_are_marked_with_their_repository(both: Api, alice: Any, charlie: Any) -> None:
    """Each term and each count carries the repository's number."""
    for user in (alice, charlie):
        repository = Repository.objects.get(user=user)
        words = set(Term.objects.filter(repository=repository).values_list("word", flat=True))
        assert f"{repository.pk}:key" in words
        assert all(word.startswith(f"{repository.pk}:") for word in words)


def test_an_agent_gets_its_users_passages_only(api: Api, alice: Any, charlie: Any, upstream: Upstream) -> None:
    for user in (alice, charlie):
        index(api, user, (PATH, secret_of(user.name)), repository=NAME)
    for user, other in ((alice, charlie), (charlie, alice)):
        stream = events(api.execute(user, context="What is the master key?", useRag=True, repository=NAME))
        assert [source["path"] for event in stream if event["type"] == "rag" for source in event["sources"]] == [PATH]
        assert f"the secret of {user.name}" in sent_prompt(upstream)
        assert f"the secret of {other.name}" not in sent_prompt(upstream)


def test_a_chain_refuses_another_owners_repository(api: Api, alice: Any, charlie: Any, upstream: Upstream) -> None:
    index(api, alice, (PATH, secret_of(alice.name)), repository=NAME)
    body = {"steps": [{"agent": "code-review"}], "context": "x", "useRag": True, "repository": NAME}
    assert error(api.post("/chains/execute", json=body, headers=api.as_(charlie))) == (404, "unknown_repository")
    assert upstream.requests == []


def test_owners_do_not_block_each_other(alice: Any, charlie: Any, embeddings: EmbeddingsServer) -> None:
    """Names are equal, but each repository has its own lock."""
    waiting_job(alice, [source(1)], NAME)
    assert services.index_files(user=charlie, repository=NAME, files=[source(1)]).status == "succeeded"
    assert not Chunk.objects.filter(repository__user=alice).exists()


def test_deleting_a_user_leaves_other_owners_files(both: Api, alice: Any, charlie: Any) -> None:
    charlie.delete()
    assert found(both, alice, "secret") == [secret_of(alice.name).rstrip()]
    with pytest.raises(UnknownRepository):
        services.find_repository(user=alice, repository="other")
    assert set(Chunk.objects.values_list("repository__user", flat=True)) == {alice.pk}
