"""tools.ci.openapi: breaking changes of the API."""

import copy
from collections.abc import Callable
from typing import Any

import pytest

from tools.ci import openapi

BEFORE: dict[str, Any] = {
    "paths": {
        "/runs": {
            "get": {
                "parameters": [{"in": "query", "name": "limit", "schema": {"type": "integer", "maximum": 100}}],
                "responses": {
                    "200": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Run"}}}}
                },
            },
            "post": {
                "requestBody": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Start"}}}},
                "responses": {"202": {}, "400": {}},
            },
        },
        "/health": {"get": {"responses": {"200": {}}}},
    },
    "components": {
        "schemas": {
            "Run": {
                "type": "object",
                "properties": {
                    "id": {"type": "string"},
                    "cost": {"type": "number"},
                    "status": {"enum": ["running", "done"]},
                    "steps": {"type": "array", "items": {"$ref": "#/components/schemas/Run"}},
                    "event": {"oneOf": [{"$ref": "#/components/schemas/Chunk"}, {"$ref": "#/components/schemas/Done"}]},
                },
                "required": ["id", "cost"],
            },
            "Chunk": {"type": "object", "properties": {"text": {"type": "string"}}},
            "Done": {"type": "object"},
            "Start": {
                "type": "object",
                "properties": {"agent": {"type": "string", "maxLength": 64}, "mode": {"enum": ["fast", "slow"]}},
                "required": ["agent"],
            },
        }
    },
}
Change = Callable[[dict[str, Any], dict[str, Any]], object]


def after(change: Change) -> list[str]:
    """Return the breaks after a change of the document's paths and schemas."""
    new = copy.deepcopy(BEFORE)
    change(new["paths"], new["components"]["schemas"])
    return openapi.breaks(BEFORE, new)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda paths, _: paths.pop("/health"), "GET /health is gone"),
        (lambda paths, _: paths["/runs"].pop("post"), "POST /runs is gone"),
        (lambda paths, _: paths["/health"]["get"].update(security=[{"bearer": []}]), "GET /health needs credentials"),
        (lambda paths, _: paths["/runs"]["get"].pop("parameters"), "GET /runs: the parameter limit is gone"),
        (
            lambda paths, _: paths["/runs"]["get"]["parameters"][0].update(required=True),
            "GET /runs: the parameter limit is required",
        ),
        (
            lambda paths, _: paths["/runs"]["get"]["parameters"][0]["schema"].update(maximum=50),
            "GET /runs: limit has the maximum 50",
        ),
        (lambda paths, _: paths["/runs"]["post"]["responses"].pop("202"), "POST /runs: no 202 any more"),
        (
            lambda paths, _: paths["/runs"]["get"]["responses"]["200"].pop("content"),
            "GET /runs: 200: no application/json any more",
        ),
        (
            lambda paths, _: paths["/runs"]["post"]["requestBody"].update(required=True),
            "POST /runs: a body is required",
        ),
        (lambda _, schemas: schemas["Run"]["properties"].pop("id"), "GET /runs: 200.id is gone"),
        (lambda _, schemas: schemas["Run"].update(required=["id"]), "GET /runs: 200.cost may be missing"),
        (
            lambda _, schemas: schemas["Run"]["properties"]["cost"].update(type=["number", "null"]),
            "GET /runs: 200.cost is null or number, and was number",
        ),
        (
            lambda _, schemas: schemas["Run"]["properties"]["id"].update(type="integer"),
            "GET /runs: 200.id is integer, and was string",
        ),
        (lambda _, schemas: schemas["Run"]["properties"]["event"]["oneOf"].pop(), "GET /runs: 200.event: Done is gone"),
        (
            lambda _, schemas: schemas["Chunk"]["properties"].pop("text"),
            "GET /runs: 200.event(Chunk).text is gone",
        ),
        (
            lambda _, schemas: schemas["Start"]["properties"]["mode"]["enum"].remove("slow"),
            "POST /runs: body.mode may not be 'slow' any more",
        ),
        (lambda _, schemas: schemas["Start"].update(required=["agent", "mode"]), "POST /runs: body.mode is required"),
        (lambda _, schemas: schemas["Start"]["properties"].pop("mode"), "POST /runs: body.mode is gone"),
        (
            lambda _, schemas: schemas["Start"]["properties"]["agent"].update(maxLength=32),
            "POST /runs: body.agent has the maxLength 32",
        ),
    ],
)
def test_breaking_changes(change: Change, said: str) -> None:
    assert after(change) == [said]


@pytest.mark.parametrize(
    "change",
    [
        lambda paths, _: None,
        lambda paths, _: paths.update({"/more": {"get": {"responses": {"200": {}}}}}),
        lambda paths, _: paths["/runs"]["get"]["parameters"].append({"in": "query", "name": "q", "schema": {}}),
        lambda paths, _: paths["/runs"]["post"]["responses"].pop("400"),
        lambda _, schemas: schemas["Run"]["properties"].update(more={"type": "string"}),
        lambda _, schemas: schemas["Run"]["properties"]["status"]["enum"].append("lost"),
        lambda _, schemas: schemas["Run"]["properties"]["cost"].update(type="integer"),
        lambda _, schemas: schemas["Start"]["properties"]["agent"].update(maxLength=100),
        lambda _, schemas: schemas["Start"]["properties"].update(more={"type": "string"}),
        lambda _, schemas: schemas["Start"].update(required=[]),
    ],
)
def test_other_changes(change: Change) -> None:
    assert after(change) == []


def test_an_intended_break_is_printed_with_its_reason(capsys: Any, monkeypatch: Any) -> None:
    monkeypatch.setitem(openapi.INTENDED, "GET /old is gone", "nobody asked it for a year")
    assert openapi.judge(["GET /old is gone"], "HEAD") == 0
    assert "(intended: nobody asked it for a year)" in capsys.readouterr().out
    assert openapi.judge(["GET /old is gone", "GET /runs is gone"], "HEAD") == 1


def test_an_unknown_commit_is_reported(capsys: Any) -> None:
    assert openapi.main(["0" * 40]) == 0
    assert "NOT COMPARED" in capsys.readouterr().out
