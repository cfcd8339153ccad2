"""GET /rag/repositories and DELETE /rag/repositories/{name}."""

from typing import Any
from urllib.parse import quote

import pytest

from rag import services
from rag.errors import UnknownRepository
from rag.models import Chunk, File, Repository, Term, Vector
from rag.tests.test_index import ADD, index
from testing.client import Api, error


def listed(api: Api, user: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = api.get("/rag/repositories", headers=api.as_(user)).json()["data"]["repositories"]
    return found


def test_it_works(api: Api, alice: Any) -> None:
    assert listed(api, alice) == []
    index(api, alice, ("a.py", ADD), ("b.py", ADD + "\n\ndef c(): pass\n"), ("README.md", "# Hello\n"), repository="b")
    index(api, alice, ("a.py", ADD), repository="a")

    first, second = listed(api, alice)

    assert (first["name"], first["files"], first["chunks"]) == ("a", 1, 1)
    assert (second["name"], second["files"], second["chunks"]) == ("b", 3, 4)
    assert second["languages"] == {"python": 2, "markdown": 1}
    assert second["model"] == "all-minilm-l6-v2"
    assert second["updatedAt"].endswith("Z")


def make(user: Any, count: int) -> list[str]:
    names = [f"r{n:04}" for n in range(count)]
    made = Repository.objects.bulk_create(Repository(user=user, name=name, model="m") for name in names)
    File.objects.bulk_create(
        File(repository=each, path="a.py", digest="d", language="python", chunks=2, bytes=1) for each in made
    )
    return names


def test_a_page_has_a_thousand_repositories(api: Api, alice: Any, charlie: Any) -> None:
    names = make(alice, 1_003)
    make(charlie, 2)
    first = api.get("/rag/repositories", headers=api.as_(alice)).json()["data"]
    assert [each["name"] for each in first["repositories"]] == names[:1_000]
    assert {(each["files"], each["chunks"], *each["languages"]) for each in first["repositories"]} == {(1, 2, "python")}
    more = {"cursor": first["nextCursor"]}
    last = api.get("/rag/repositories", headers=api.as_(alice), params=more).json()["data"]
    assert [each["name"] for each in last["repositories"]] == names[1_000:]
    assert last["nextCursor"] is None and last["storage"]["repositories"] == 1_003


def test_smaller_pages(api: Api, alice: Any) -> None:
    names, seen, cursor = make(alice, 5), [], None
    for _ in range(3):
        query = {"limit": 2} | ({"cursor": cursor} if cursor else {})
        page = api.get("/rag/repositories", headers=api.as_(alice), params=query).json()["data"]
        seen += [each["name"] for each in page["repositories"]]
        cursor = page["nextCursor"]
    assert (seen, cursor) == (names, None)


@pytest.mark.parametrize(
    ("query", "field"),
    [({"limit": "0"}, "limit"), ({"limit": "1001"}, "limit"), ({"limit": "x"}, "limit"), ({"cursor": "x"}, "cursor"),
     ({"limits": "1"}, "limits")],
)  # fmt: skip
def test_an_invalid_query_parameter_is_named(api: Api, alice: Any, query: dict[str, str], field: str) -> None:
    response = api.get("/rag/repositories", headers=api.as_(alice), params=query)
    assert error(response) == (400, "validation_error")
    assert [each["field"] for each in response.json()["fields"]] == [field]


@pytest.mark.parametrize("name", ["default", "acme/api", "Grüße & mehr?", "100%", "a/b/c"])
@pytest.mark.parametrize("safe", ["", "/"])
def test_delete_repositories_of_any_name(api: Api, alice: Any, name: str, safe: str) -> None:
    index(api, alice, ("a.py", ADD), repository=name)
    index(api, alice, ("a.py", ADD), repository="other")

    response = api.delete(f"/rag/repositories/{quote(name, safe=safe)}", headers=api.as_(alice))

    assert response.json()["data"] == {"message": f"The repository {name!r} is deleted."}
    assert [each["name"] for each in listed(api, alice)] == ["other"]
    for model in (File, Chunk, Vector, Term):
        assert set(model.objects.values_list("repository__name", flat=True)) == {"other"}


def test_another_users_repository_is_neither_listed_nor_deleted(api: Api, alice: Any, charlie: Any) -> None:
    index(api, alice, ("a.py", ADD), repository="shared")
    assert listed(api, charlie) == []
    assert error(api.delete("/rag/repositories/shared", headers=api.as_(charlie))) == (404, "unknown_repository")
    index(api, charlie, ("a.py", ADD), repository="shared")
    api.delete("/rag/repositories/shared", headers=api.as_(charlie))
    assert [each["name"] for each in listed(api, alice)] == ["shared"]
    assert Chunk.objects.get().file.repository.user == alice


def test_an_unknown_repository_error_lists_the_known_ones(api: Api, alice: Any) -> None:
    index(api, alice, ("a.py", ADD), repository="mine")
    response = api.delete("/rag/repositories/yours", headers=api.as_(alice))
    assert error(response) == (404, "unknown_repository")
    assert response.json()["available"] == ["mine"]


@pytest.mark.parametrize("name", ["a%01b", "a/%2E%2E/b", "a//b", "%20"])
def test_an_invalid_name_is_404(api: Api, alice: Any, name: str) -> None:
    index(api, alice, ("a.py", ADD), repository="mine")
    response = api.delete(f"/rag/repositories/{name}", headers=api.as_(alice))
    assert error(response) == (404, "unknown_repository")
    assert response.json()["available"] == ["mine"]


def test_an_invalid_name_in_a_prompt_is_refused(api: Api, alice: Any) -> None:
    refused = api.execute(alice, provider="local", context="x", useRag=True, repository="a\0b")
    assert refused.status_code in (400, 404)
    with pytest.raises(UnknownRepository):
        services.find_repository(user=alice, repository="a\0b")


def test_deleting_a_user_deletes_the_index(api: Api, alice: Any) -> None:
    index(api, alice, ("a.py", ADD))
    alice.delete()
    assert not Repository.objects.exists()
    assert not Vector.objects.exists()


def test_without_credentials(api: Api) -> None:
    assert error(api.get("/rag/repositories")) == (401, "not_authenticated")
    assert error(api.delete("/rag/repositories/default")) == (401, "not_authenticated")
