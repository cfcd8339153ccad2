"""POST /rag/search."""

from typing import Any

import pytest

from rag import services
from rag.indexing.indexer import SourceFile
from rag.models import Repository, Vector
from rag.search import search, vectors
from rag.tests.test_index import fields, index
from testing.client import Api, error
from testing.loopback.embeddings import EmbeddingsServer

FILES = (
    ("src/auth/passwords.py", "def verify(user, secret):\n    return hasher.check(secret, user.password_hash)\n"),
    ("src/mail/sender.py", "def send_welcome(address):\n    smtp.deliver(address, 'Welcome aboard')\n"),
    ("src/http/readers.py", "def readHttpHeader(stream):\n    return stream.readline().split(b':')\n"),
    ("docs/deploy.md", "# Rolling out\n\nStop the old containers one after the other, then start the new ones.\n"),
)


def find(api: Api, user: Any, query: str, **more: Any) -> list[dict[str, Any]]:
    response = api.post("/rag/search", json={"query": query, **more}, headers=api.as_(user))
    assert response.status_code == 200, response.text
    data = response.json()["data"]
    assert data["query"] == query
    assert data["total"] == len(data["results"])
    results: list[dict[str, Any]] = data["results"]
    return results


def test_it_works(api: Api, alice: Any) -> None:
    index(api, alice, *FILES)

    results = find(api, alice, "How is somebody's password checked at sign-in?")

    best = results[0]
    assert (best["path"], best["chunk"], best["symbol"], best["language"]) == (FILES[0][0], 0, "verify", "python")
    assert (best["startLine"], best["endLine"], best["content"]) == (1, 2, FILES[0][1].rstrip())
    scores = [result["score"] for result in results]
    assert scores == sorted(scores, reverse=True)
    assert 0 <= scores[-1] <= scores[0] <= 1
    assert len(results) == 4


@pytest.mark.parametrize(
    ("query", "path"),
    [
        ("who gets a greeting when they join", "src/mail/sender.py"),
        ("zero downtime release of docker", "docs/deploy.md"),
        ("read_http_header", "src/http/readers.py"),
        ("readHTTPHeader(", "src/http/readers.py"),
        ("'; DROP TABLE users; -- password_hash", "src/auth/passwords.py"),
    ],
)
def test_search_by_meaning_and_by_name(api: Api, alice: Any, query: str, path: str) -> None:
    index(api, alice, *FILES)
    assert find(api, alice, query, limit=1)[0]["path"] == path


@pytest.mark.parametrize("query", ["the", "???", "\u202e add", "a & b | !c <-> d:*", "日本語", "%s %(name)s"])
def test_any_query_is_answered(api: Api, alice: Any, query: str) -> None:
    index(api, alice, *FILES)
    assert len(find(api, alice, query)) == 4


def test_limit_and_repository(api: Api, alice: Any) -> None:
    index(api, alice, *FILES, repository="acme/api")
    index(api, alice, ("other.py", FILES[0][1]), repository="other")
    assert len(find(api, alice, "password", repository="acme/api", limit=2)) == 2
    assert [hit["path"] for hit in find(api, alice, "password", repository="other")] == ["other.py"]


def test_two_owners_with_the_same_names_and_paths_see_their_own(api: Api, alice: Any, charlie: Any) -> None:
    index(api, alice, ("a.py", "SECRET_OF_ALICE = 'password'\n"), repository="shared")
    index(api, charlie, ("a.py", "SECRET_OF_CHARLIE = 'password'\n"), repository="shared")

    assert [hit["content"] for hit in find(api, alice, "secret password", repository="shared")] == [
        "SECRET_OF_ALICE = 'password'"
    ]
    assert [hit["content"] for hit in find(api, charlie, "SECRET_OF_ALICE", repository="shared")] == [
        "SECRET_OF_CHARLIE = 'password'"
    ]


def test_another_users_repository_is_404(api: Api, alice: Any, charlie: Any) -> None:
    index(api, alice, *FILES, repository="acme/api")
    response = api.post("/rag/search", json={"query": "x", "repository": "acme/api"}, headers=api.as_(charlie))
    assert error(response) == (404, "unknown_repository")
    assert response.json()["available"] == []


def test_an_empty_index_gives_no_results(api: Api, alice: Any) -> None:
    assert find(api, alice, "anything") == []
    assert find(api, alice, "anything", repository="default") == []


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "query"),
        ({"query": ""}, "query"),
        ({"query": "q" * 2_001}, "query"),
        ({"query": "a\0b"}, "query"),
        ({"query": "q", "limit": 0}, "limit"),
        ({"query": "q", "limit": 21}, "limit"),
        ({"query": "q", "repository": "../x"}, "repository"),
    ],
)
def test_bad_input(api: Api, alice: Any, body: dict[str, Any], field: str) -> None:
    assert [name for name, _ in fields(api.post("/rag/search", json=body, headers=api.as_(alice)))] == [field]


def test_without_credentials(api: Api) -> None:
    assert error(api.post("/rag/search", json={"query": "x"})) == (401, "not_authenticated")


def test_an_unavailable_model_is_an_error(patient: Api, alice: Any, embeddings: EmbeddingsServer) -> None:
    index(patient, alice, FILES[0])
    embeddings.respond_with(503)
    response = patient.post("/rag/search", json={"query": "password"}, headers=patient.as_(alice))
    assert error(response) == (503, "embeddings_unavailable")
    assert response.headers["Retry-After"] == "5"
    embeddings.respond_with(401)
    response = patient.post("/rag/search", json={"query": "password"}, headers=patient.as_(alice))
    assert error(response) == (502, "embeddings_error")


# -- The order ---------------------------------------------------------------------------------------------------------


def index_repository(user: Any, *files: tuple[str, str]) -> Repository:
    services.index_files(user=user, repository="default", files=[SourceFile(*file) for file in files])
    return Repository.objects.get(user=user)


def test_near_duplicates_in_a_file_are_dropped(embeddings: EmbeddingsServer, alice: Any) -> None:
    body = "".join(f"    word_{n} = {n}\n" for n in range(9))
    twins = f"def one():\n{body}\n\ndef two():\n{body}"
    repository = index_repository(alice, ("twins.py", twins), ("copy.py", f"def one():\n{body}"))

    hits = search.search(repository, "one word", 5)

    assert sorted((hit.path, hit.symbol) for hit in hits) == [("copy.py", "one"), ("twins.py", "one")]


def test_a_rare_word_weighs_more_than_a_common_one(embeddings: EmbeddingsServer, alice: Any) -> None:
    common = [(f"{n}.py", f"def handle_{n}(request):\n    return request.value\n") for n in range(30)]
    repository = index_repository(alice, *common, ("rare.py", "def audit(request):\n    return ledger(request)\n"))
    weights, rare = search._weigh_words(repository, "request ledger")
    assert weights["ledger"] > 3 * weights["request"]
    assert rare == ["ledger", "request"]


def test_only_rare_words_find_candidates(embeddings: EmbeddingsServer, alice: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr("rag.search.search.MAX_TEXT_CANDIDATES", 10)
    files = [(f"{n}.py", f"def handle_{n}(request):\n    return request.value\n") for n in range(30)]
    _, rare = search._weigh_words(index_repository(alice, *files), "request handle unheard")
    assert rare == ["unheard"]


@pytest.mark.parametrize("exact_below", [0, 10_000])
def test_the_index_finds_the_same_chunks_as_an_exact_search(
    embeddings: EmbeddingsServer, alice: Any, charlie: Any, monkeypatch: Any, exact_below: int
) -> None:
    """Even for an owner of 2 % of the rows: the filter must not starve the index."""
    files = [
        (f"{n}.py", f"def f{n}():\n    return {' + '.join(f'w{n * k % 97}' for k in range(1, 9))}\n")
        for n in range(300)
    ]
    index_repository(charlie, *files)
    repository = index_repository(alice, *files[:6])
    monkeypatch.setattr("rag.search.search.EXACT_BELOW_CHUNKS", exact_below)

    hits = search.search(repository, "w5 w10 w15", 20)

    assert {hit.path for hit in hits} == {path for path, _ in files[:6]}


def test_blend_is_the_normalized_mean_and_accepts_zeros() -> None:
    assert vectors.blend([2.0, 0.0], [0.0, 3.0]) == pytest.approx([0.5**0.5, 0.5**0.5])
    assert vectors.blend([0.0, 0.0], [0.0, 0.0]) == [0.0, 0.0]
    assert vectors.to_literal([0.123456789, -1.0]) == "[0.12346,-1]"


def test_each_chunk_has_one_vector(embeddings: EmbeddingsServer, alice: Any) -> None:
    repository = index_repository(alice, *FILES)
    assert Vector.objects.filter(repository=repository, model=repository.model).count() == 4
