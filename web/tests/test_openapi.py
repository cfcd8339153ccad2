"""/openapi.json: valid, complete, and true of what the server does."""

import ast
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from openapi_spec_validator import validate

from billing.models import MonthlyUsage
from testing.client import Api
from testing.loopback.upstream import Upstream
from testing.servers import ROOT

PATHS = {
    "/health": {"get"},
    "/ready": {"get"},
    "/auth/signup": {"post"},
    "/auth/login": {"post"},
    "/auth/logout": {"post"},
    "/auth/logout-all": {"post"},
    "/auth/me": {"get", "delete"},
    "/auth/export": {"get"},
    "/auth/password/forgot": {"post"},
    "/auth/password/reset": {"post"},
    "/auth/password/change": {"post"},
    "/auth/verify": {"post"},
    "/auth/verify/resend": {"post"},
    "/auth/activity": {"get"},
    "/api-keys": {"get", "post"},
    "/api-keys/{id}": {"delete"},
    "/api-keys/{id}/usage": {"get"},
    "/api-keys/revoke-leaked": {"post"},
    "/billing/plans": {"get"},
    "/billing/usage": {"get"},
    "/billing/subscription": {"get"},
    "/billing/checkout": {"post"},
    "/billing/change": {"post"},
    "/billing/cancel": {"post"},
    "/billing/resume": {"post"},
    "/billing/portal": {"post"},
    "/billing/webhook": {"post"},
    "/agents/list": {"get"},
    "/agents/execute": {"post"},
    "/providers": {"get"},
    "/providers/{name}/key": {"put", "delete"},
    "/runs": {"get"},
    "/runs/{id}": {"get"},
    "/runs/{id}/events": {"get"},
    "/runs/{id}/cancel": {"post"},
    "/runs/{id}/resume": {"post"},
    "/rag/index": {"post"},
    "/rag/search": {"post"},
    "/rag/repositories": {"get"},
    "/rag/repositories/{name}": {"delete"},
    "/rag/jobs/{id}": {"get"},
    "/rag/jobs/{id}/events": {"get"},
    "/chains": {"get"},
    "/chains/execute": {"post"},
}


@pytest.fixture
def document(api: Api) -> dict[str, Any]:
    return api.get("/openapi.json").json()


def test_it_is_valid_and_names_every_path(document: dict[str, Any]) -> None:
    validate(document)
    assert document["openapi"].startswith("3.1")
    assert {path: set(operations) for path, operations in document["paths"].items()} == PATHS


def test_every_operation_has_a_short_summary(document: dict[str, Any]) -> None:
    operations = {(method, path): each for path, all_ in document["paths"].items() for method, each in all_.items()}
    assert {key for key, each in operations.items() if not 0 < len(each.get("summary", "")) <= 100} == set()
    assert operations["get", "/agents/list"]["summary"] == "List the agents"


def test_successes_are_in_the_envelope(document: dict[str, Any]) -> None:
    me = document["paths"]["/auth/me"]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
    assert me["required"] == ["data"]
    assert me["properties"]["data"] == {"$ref": "#/components/schemas/Account"}


def codes_in(operation: dict[str, Any]) -> set[str]:
    return {
        code
        for response in operation["responses"].values()
        for content in response.get("content", {}).values()
        for code in content.get("examples", {})
    }


def test_execute_names_all_its_errors_and_events(document: dict[str, Any]) -> None:
    operation = document["paths"]["/agents/execute"]["post"]
    assert {
        *("not_authenticated", "token_invalid", "token_expired", "api_key_invalid", "rate_limited", "validation_error"),
        *("malformed_json", "payload_too_large", "unsupported_media_type", "unknown_agent", "pro_required"),
        *("quota_exceeded", "unknown_provider", "unknown_model", "provider_not_configured", "provider_error"),
        *("provider_unavailable", "provider_timeout", "internal_error", "service_unavailable"),
        *("output_limit_reached", "content_filtered", "provider_refused", "empty_answer", "provider_quota_exhausted"),
    } <= codes_in(operation)
    kinds = {"start", "rag", "progress", "chunk", "done", "error", "cancelled"}
    assert set(events_of(document, operation)["discriminator"]["mapping"]) == kinds


def events_of(document: dict[str, Any], operation: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of an operation's events."""
    stream = operation["responses"]["200"]["content"]["text/event-stream"]
    reference = stream["x-event-schema"]["$ref"]
    return dict(document["components"]["schemas"][reference.rsplit("/", 1)[1]])


EXECUTIONS = [("/agents/execute", "done"), ("/chains/execute", "chain_done")]
WITH_EVENTS = [(path, "post") for path, _ in EXECUTIONS] + [("/runs/{id}/resume", "post"), ("/runs/{id}/events", "get")]


@pytest.mark.parametrize(("path", "method"), WITH_EVENTS)
def test_events_may_say_what_is_not_known_yet(document: dict[str, Any], path: str, method: str) -> None:
    """Clients ignore values that they do not know, so that generated ones must not refuse them."""
    operation = document["paths"][path][method]
    mapping = events_of(document, operation)["discriminator"]["mapping"]
    progress = document["components"]["schemas"][mapping["progress"].rsplit("/", 1)[1]]
    assert set(progress["properties"]) == {"type", "state", "provider", "model"}
    assert set(progress["required"]) == {"type", "state"} and "enum" not in progress["properties"]["state"]
    for state in ("queued", "thinking", "fallback"):
        assert f"`{state}`" in progress["properties"]["state"]["description"]
    assert "Ignore types, members and values that you do not know" in operation["responses"]["200"]["description"]


@pytest.mark.parametrize(("path", "last"), EXECUTIONS)
def test_executions_say_what_they_took_and_what_counts(document: dict[str, Any], path: str, last: str) -> None:
    operation, schemas = document["paths"][path]["post"], document["components"]["schemas"]
    done = schemas[events_of(document, operation)["discriminator"]["mapping"][last].rsplit("/", 1)[1]]
    tokens = schemas[done["properties"]["tokens"]["$ref"].rsplit("/", 1)[1]]
    assert set(tokens["required"]) == {"input", "output", "reasoning", "cacheRead", "cacheWrite", "estimated"}
    assert "tokens" in done["required"] and "costKnown" in set(done["properties"]) - set(done["required"])
    said = operation["responses"]["200"]["description"]
    assert all(code in said for code in ("output_limit_reached", "content_filtered", "provider_refused"))
    example = operation["responses"]["200"]["content"]["text/event-stream"]["examples"]["Stream"]["value"]
    events = [orjson.loads(line[6:]) for line in example.splitlines() if line.startswith("data: ")]
    assert set(events[-1]["tokens"]) == set(tokens["required"]) and events[-1]["type"] == last
    assert "progress" in {event["type"] for event in events}


def test_a_run_says_what_its_figures_measure(document: dict[str, Any]) -> None:
    run = document["components"]["schemas"]["RunDetail"]["properties"]
    for name in ("createdAt", "finishedAt", "durationMs", "firstTokenMs", "costUsd", "costKnown", "providerStatus"):
        assert run[name]["description"], name
    assert set(run["lastAttempt"]["oneOf"][1].values()) == {"null"}
    assert {"tokens", "costKnown"} <= set(document["components"]["schemas"]["Step"]["required"])


def error_codes_of_the_source() -> set[str]:
    """Return the first string of every `code, status, message = …` in a class."""
    found = set()
    for path in ROOT.glob("*/**/*.py"):
        if ".venv" in path.parts or "tests" in path.parts:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Assign(targets=[ast.Tuple(elts=[ast.Name(id="code"), *_])], value=ast.Tuple(elts=[code, *_])):
                    found.add(ast.literal_eval(code))
    return found


def test_every_error_code_is_documented(document: dict[str, Any]) -> None:
    of_no_operation = {"not_found", "method_not_allowed", "forbidden", "bad_request"}
    documented = {code for path in document["paths"].values() for op in path.values() for code in codes_in(op)}
    assert error_codes_of_the_source() - of_no_operation <= documented


def test_every_response_names_the_headers(document: dict[str, Any]) -> None:
    for path in document["paths"].values():
        for operation in path.values():
            for response in operation["responses"].values():
                assert {"X-Request-Id", "X-RateLimit-Remaining", "Server-Timing"} <= set(response["headers"])


@pytest.mark.parametrize(
    "body",
    [
        {"agent": "code-review", "context": "x"},
        {"agent": "nonsense", "context": "x"},
        {"agent": "docker", "context": "x"},
        {"agent": "code-review", "context": ""},
        {"agent": "code-review", "context": "x", "provider": "nonsense"},
        {"agent": "code-review", "context": "x", "model": "nonsense"},
        {"agent": "code-review", "context": "x", "useRag": True},
        None,
    ],
)
def test_what_execute_sends_is_described(
    document: dict[str, Any], api: Api, alice: Any, upstream: Upstream, body: dict[str, Any] | None
) -> None:
    """All headers of ours, and the very members of each error."""
    headers = api.as_(alice) if body else {}
    response = api.post("/agents/execute", json=body or {}, headers={**headers, "Idempotency-Key": "k"})
    described = document["paths"]["/agents/execute"]["post"]["responses"][str(response.status_code)]
    ours = {name for name in response.headers if name.startswith(("x-", "retry", "www"))}
    framing = {"x-accel-buffering", "x-frame-options", "x-content-type-options"}
    assert ours - framing <= {name.lower() for name in described["headers"]}
    if response.status_code != 200:
        example = described["content"]["application/json"]["examples"][response.json()["code"]]["value"]
        assert set(response.json()) == set(example)


def test_what_the_month_refuses_is_described(document: dict[str, Any], api: Api, alice: Any) -> None:
    MonthlyUsage.objects.create(user=alice, month=datetime.now(UTC).date().replace(day=1), executions=100)
    refusal = api.execute(alice).json()
    answers = document["paths"]["/agents/execute"]["post"]["responses"]["403"]["content"]["application/json"]
    assert set(refusal) == set(answers["examples"]["quota_exceeded"]["value"])


def test_a_row_is_sent_whole(document: dict[str, Any]) -> None:
    """Whether or not its columns have defaults."""
    run = document["components"]["schemas"]["Run"]
    assert {"status", "id", "createdAt"} <= set(run["required"]) == set(run["properties"])


def operations_of(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    paths = document["paths"].items()
    return {f"{method.upper()} {path}": each for path, methods in paths for method, each in methods.items()}


def nested(part: Any) -> Iterator[dict[str, Any]]:
    if isinstance(part, dict):
        yield part
    for each in part.values() if isinstance(part, dict) else part if isinstance(part, list) else ():
        yield from nested(each)


def test_operations_are_grouped_and_say_whether_they_need_a_credential(document: dict[str, Any], api: Api) -> None:
    tags = [tag["name"] for tag in document["tags"]]
    assert tags[0] == "auth" and tags[-1] == "operations" and all(tag["description"] for tag in document["tags"])
    operations = operations_of(document)
    assert {
        name for name, each in operations.items() if each["tags"][0] not in tags or not each["description"]
    } == set()
    public = {name for name, each in operations.items() if each["security"] == []}
    assert {"POST /auth/signup", "POST /auth/login", "GET /billing/plans", "GET /health"} <= public
    assert not any(name.startswith(("GET /runs", "POST /agents")) for name in public)
    assert [server["url"] for server in document["servers"]] == [f"http://localhost:{api.base_url.port}"]


def test_requests_are_closed_and_have_no_defaults(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    requests = {name: each for name, each in schemas.items() if name.endswith("Request")}
    assert requests and all(each["additionalProperties"] is False for each in requests.values())
    assert not [name for name, each in requests.items() for part in nested(each) if "default" in part]
    unbounded = [
        (name, key)
        for name, each in requests.items()
        for key, member in each["properties"].items()
        if "string" in member["type"] and not {"maxLength", "enum", "format"} & set(member)
    ]
    assert unbounded == []


def test_answers_may_grow(document: dict[str, Any]) -> None:
    """No closed enumeration: a value of a later release is no fault of the server."""
    schemas = document["components"]["schemas"]
    closed = {name for name, each in schemas.items() for part in nested(each) if len(part.get("enum", ())) > 1}
    assert all(name.endswith("Request") for name in closed), closed
    assert schemas["Run"]["properties"]["status"]["x-known-values"][0] == "queued"
    responses = operations_of(document)["POST /agents/execute"]["responses"]
    assert "quota_exceeded" in responses["403"]["x-error-codes"]


def test_every_member_of_an_error_is_described(document: dict[str, Any]) -> None:
    sent = {
        member
        for operation in operations_of(document).values()
        for response in operation["responses"].values()
        for example in response.get("content", {}).get("application/json", {}).get("examples", {}).values()
        if "code" in example["value"]
        for member in example["value"]
    }
    assert sent <= set(document["components"]["schemas"]["Error"]["properties"])


def test_deprecated_operations_are_in_the_changelog(document: dict[str, Any]) -> None:
    section = (ROOT / "docs" / "api-changelog.md").read_text().partition("## Deprecations")[2].partition("\n## ")[0]
    deprecated = {name for name, each in operations_of(document).items() if each.get("deprecated")}
    assert {name for name in deprecated if f"`{name}`" not in section} == set()
    assert deprecated or "| nothing | | | |" in section
