"""Lists of the API cost a fixed number of SQL statements, for 30 rows as for 2."""

from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from accounts.signin import jwt
from agents.models import Agent
from billing import tiers
from billing.models import Tier
from chains.models import ChainPreset
from lunaos.infra import ttl_cache
from rag.models import File, Repository
from testing.client import Api
from web.tests.test_admin_queries import MAKE, Make, event, key, provider_key, run

FEW, MANY = 2, 30
RowsOfNobody = (Agent, ChainPreset, Tier)


def repository(user: Any, n: int) -> None:
    made = Repository.objects.create(user=user, name=f"r{n:02}", model="m", bytes=1)
    for language in ("python", "rust"):
        File.objects.create(repository=made, path=f"{language}.x", digest="d", language=language, chunks=n, bytes=1)


# What a list shows, and the statements that it takes, the one that finds the user included.
LISTS: dict[str, tuple[Make, int]] = {
    "/agents/list": (MAKE["agents/agent"], 1),
    "/api-keys": (key, 2),
    "/auth/activity": (event, 2),
    "/billing/plans": (MAKE["billing/tier"], 0),
    "/chains": (MAKE["chains/chainpreset"], 1),
    "/providers": (provider_key, 2),
    "/rag/repositories": (repository, 4),
    "/runs": (run, 2),
}


@pytest.fixture
def statements(alice: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], int]:
    """How many statements a request takes."""
    monkeypatch.setattr(ttl_cache, "TTL_S", 3600)
    client, headers = Client(), {"Authorization": f"Bearer {jwt.issue(alice)}"}

    def count(path: str) -> int:
        client.get(path, headers=headers)  # the first one fills caches
        with CaptureQueriesContext(connection) as captured:
            response = client.get(path, headers=headers)
        assert response.status_code == 200, response.content
        return len(captured)

    return count


@pytest.fixture
def rows_of_nobody() -> Any:
    known: dict[Any, set[Any]] = {
        model: set(model._default_manager.values_list("pk", flat=True)) for model in RowsOfNobody
    }
    yield
    for model, kept in known.items():
        model._default_manager.exclude(pk__in=kept).delete()
    tiers.clear_cache()


def test_no_list_is_left_out(api: Api) -> None:
    """A list is a path with an array at the top of its answer in the document."""
    paths = api.get("/openapi.json").json()["paths"]
    schemas = api.get("/openapi.json").json()["components"]["schemas"]

    def is_list(operation: dict[str, Any]) -> bool:
        data = operation["responses"]["200"]["content"].get("application/json", {}).get("schema", {})
        data = data.get("properties", {}).get("data", {})
        shape = schemas[data["$ref"].rpartition("/")[2]] if "$ref" in data else data
        return any(each.get("type") == "array" for each in shape.get("properties", {}).values())

    found = {path for path, each in paths.items() if "{" not in path and "get" in each and is_list(each["get"])}
    assert found == set(LISTS)


@pytest.mark.parametrize("path", LISTS)
def test_lists(alice: Any, statements: Callable[[str], int], rows_of_nobody: None, path: str) -> None:
    make, expected = LISTS[path]
    for n in range(FEW):
        make(alice, n)
    assert statements(path) == expected
    for n in range(FEW, MANY):
        make(alice, n)
    assert statements(path) == expected
