"""Input is taken strictly, for every operation of the OpenAPI document."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from django.urls import URLPattern, get_resolver

from lunaos.api.views import StrictInput
from lunaos.errors import MAX_ERROR_BYTES, MAX_FIELD_ERRORS
from testing import routes
from testing.client import Api, error
from web.documentation.views import ReferenceView
from web.pages import PageView
from web.views import _schema

UNENVELOPED = ("/health", "/ready", "/billing/webhook")
DOCUMENT = json.loads(_schema())
Operation = tuple[str, str, dict[str, Any]]


def operations() -> Iterator[Operation]:
    """Yield method, path with a sample id, and the operation."""
    for template, methods in DOCUMENT["paths"].items():
        path = template.replace("{id}", routes.UNKNOWN_ID).replace("{name}", "nothing")
        for method, operation in methods.items():
            if template not in UNENVELOPED:
                yield method.upper(), path, operation


def body_schema(operation: dict[str, Any]) -> dict[str, Any]:
    content = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
    reference = content.get("schema", {}).get("$ref", "")
    return DOCUMENT["components"]["schemas"][reference.rpartition("/")[2]] if reference else {"properties": {}}


def optional_members(operation: dict[str, Any]) -> set[str]:
    schema = body_schema(operation)
    return schema["properties"].keys() - {*schema.get("required", ())}


ALL = [pytest.param(*each, id=f"{each[0]} {each[1]}") for each in operations()]
WRITES = [each for each in ALL if each.values[0] not in {"GET"}]
WITH_OPTIONAL = [pytest.param(*each, id=f"{each[0]} {each[1]}") for each in operations() if optional_members(each[2])]
# They are open to members of others: Stripe's events, and links with a tracker's parameters.
OPEN_VIEWS = {"HealthView", "ReadyView", "MetricsView", "SchemaView", "WebhookView"}


def faults(response: Any) -> dict[str, str]:
    return {fault["field"]: fault["code"] for fault in response.json().get("fields", ())}


def test_it_works(api: Api, alice: Any) -> None:
    body = {"agent": "code-review", "context": "x", "modle": "y"}
    response = api.post("/agents/execute", json=body, headers=api.as_(alice))
    assert error(response) == (400, "validation_error")
    expected = {"field": "modle", "message": "Unknown field `modle`; did you mean `model`?", "code": "unknown"}
    assert response.json()["fields"] == [expected]


@pytest.mark.parametrize(("method", "path", "operation"), ALL)
def test_unknown_query_parameters(api: Api, alice: Any, method: str, path: str, operation: dict[str, Any]) -> None:
    response = api.request(method, f"{path}?limitt=1", headers=api.as_(alice))
    assert error(response) == (400, "validation_error")
    assert faults(response)["limitt"] == "unknown"


@pytest.mark.parametrize(("method", "path", "operation"), WRITES)
def test_members(api: Api, alice: Any, method: str, path: str, operation: dict[str, Any]) -> None:
    members = body_schema(operation)["properties"]
    wrong = {name: 7 if "string" in of["type"] else "7" for name, of in members.items() if "type" in of}
    response = api.request(method, path, json={**wrong, "nonsense": 1}, headers=api.as_(alice))
    assert error(response) == (400, "validation_error")
    found = faults(response)
    assert found["nonsense"] == "unknown"
    assert wrong.keys() <= {field.partition(".")[0] for field in found}


def test_every_view_of_the_api_refuses_unknown_members() -> None:
    """A view of a new route, too; `test_members` tries the body of each operation."""
    callbacks = [pattern.callback for pattern in get_resolver().url_patterns if isinstance(pattern, URLPattern)]
    views: set[type] = {each.cls for each in callbacks if hasattr(each, "cls")}
    closed = (StrictInput, PageView, ReferenceView)
    open_views = {view.__name__ for view in views if not issubclass(view, closed)}
    assert open_views == OPEN_VIEWS


@pytest.mark.parametrize(("method", "path", "operation"), WITH_OPTIONAL)
def test_null_means_absent(api: Api, alice: Any, method: str, path: str, operation: dict[str, Any]) -> None:
    optional = optional_members(operation)
    response = api.request(method, path, json=dict.fromkeys(optional), headers=api.as_(alice))
    assert not faults(response).keys() & optional


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("/rag/index", {"files": [{"pth": "a.py", "path": "a.py", "content": "x"}]}, "files.0.pth"),
        ("/chains/execute", {"context": "x", "steps": [{"agent": "code-review", "agnt": 1}]}, "steps.0.agnt"),
        ("/chains/execute", {"context": "x", "steps": [{"agent": 5}]}, "steps.0.agent"),
        ("/api-keys", {"scopes": [5]}, "scopes.0"),
        ("/agents/execute", {"agent": "code-review", "context": " \n\t"}, "context"),
        ("/agents/execute", {"agent": "code-review", "context": "\u200b \u2060\ufeff"}, "context"),
        ("/chains/execute", {"chain": "full-review", "context": "\u200d"}, "context"),
        ("/rag/search", {"query": "\u200b"}, "query"),
        ("/agents/execute", {"agent": "code-review", "context": "x", "useRag": 1}, "useRag"),
        ("/rag/search", {"query": "x", "limit": True}, "limit"),
    ],
)
def test_nested_members_and_types(api: Api, alice: Any, path: str, body: dict[str, Any], field: str) -> None:
    response = api.post(path, json=body, headers=api.as_(alice))
    assert error(response) == (400, "validation_error")
    assert [fault["field"] for fault in response.json()["fields"]] == [field]


def test_many_and_long_names(api: Api, alice: Any) -> None:
    body = {"x" * 300 + str(number): 0 for number in range(2_000)}
    response = api.post("/api-keys", json=body, headers=api.as_(alice))
    assert error(response) == (400, "validation_error")
    assert len(response.json()["fields"]) <= MAX_FIELD_ERRORS
    assert len(response.content) <= MAX_ERROR_BYTES


def test_pages_ignore_unknown_parameters(api: Api) -> None:
    for path in ("/", "/status", "/docs", "/docs/errors", "/health"):
        assert api.get(f"{path}?utm_source=mail", headers={"Accept": "text/html"}).status_code == 200, path
