"""OpenAPI: the document as a whole, after drf-spectacular has described each operation."""

from collections.abc import Iterator
from typing import Any

from lunaos import errors as luna_errors
from lunaos.api.schema import ERROR_REF, ERROR_SCHEMA, HEADERS_BY_STATUS, JSON, RESPONSE_HEADERS, example_of
from lunaos.errors import LunaError

Schema = dict[str, Any]
# In the order in which a newcomer needs them.
TAGS = {
    "auth": "Accounts: sign-up, sign-in, sessions, passwords, and your data.",
    "agents": "The agents, and executions whose answer streams.",
    "chains": "Several agents one after the other, each with the answers before it.",
    "runs": "Executions of agents and chains: list, follow, cancel, resume.",
    "rag": "Code search: index repositories and find passages in them.",
    "api-keys": "API keys for programs, with scopes and an expiry.",
    "providers": "Model providers, and your own keys for them.",
    "billing": "Plans, usage, and the subscription at Stripe.",
    "operations": "For operators: probes, and events that Stripe sends.",
}
OPERATIONS_TAG = "operations"
OPERATIONS = ("/health", "/ready", "/billing/webhook")  # for those who run the platform, not for its users
# Bodies of others, which may have any member.
OPEN_REQUESTS = {"/billing/webhook"}


def finish_document(result: Schema, generator: Any, request: Any, public: bool) -> Schema:
    """Complete the document (drf-spectacular postprocessing hook)."""
    components = result.setdefault("components", {})
    components.setdefault("schemas", {})["Error"] = ERROR_SCHEMA
    described = [RESPONSE_HEADERS, *HEADERS_BY_STATUS.values()]
    components["headers"] = {
        name: {"schema": {"type": kind}, "description": text}
        for headers in described
        for name, (kind, text) in headers.items()
    }
    result["info"]["license"] = {"name": "Apache-2.0", "identifier": "Apache-2.0"}
    result["tags"] = [{"name": name, "description": text} for name, text in TAGS.items()]
    for path, operation in _operations(result):
        operation.setdefault("security", [])
        if path in OPERATIONS:
            operation["tags"] = [OPERATIONS_TAG]
        _document_operation(operation)
    _close_requests(result)
    _open_answers(result)
    return result


def _document_operation(operation: Schema) -> None:
    shared: list[type[LunaError]] = [luna_errors.RateLimited, LunaError, luna_errors.ServiceUnavailable]
    shared += [luna_errors.BadRequest, luna_errors.RequestTimeout, luna_errors.UriTooLong, luna_errors.HeadersTooLarge]
    if any(operation.get("security", [])):
        shared += [
            luna_errors.NotAuthenticated,
            luna_errors.TokenInvalid,
            luna_errors.TokenExpired,
            luna_errors.ApiKeyInvalid,
        ]
        shared.append(luna_errors.ScopeMissing)
    if "requestBody" in operation or "parameters" in operation:
        shared.append(luna_errors.ValidationFailed)
    if "requestBody" in operation:
        shared += [luna_errors.MalformedJson, luna_errors.PayloadTooLarge, luna_errors.UnsupportedMediaType]
    for kind in shared:
        _add_error(operation["responses"], kind)
    for status, response in operation["responses"].items():
        _name_codes(response)
        # Generators take the first kind of content: what `stream: false` answers.
        response["content"] = dict(sorted(response.get("content", {}).items()))
        shown = [*RESPONSE_HEADERS, *HEADERS_BY_STATUS.get(status, ())]
        response.setdefault("headers", {}).update({name: {"$ref": f"#/components/headers/{name}"} for name in shown})
    operation["responses"] = dict(sorted(operation["responses"].items()))


def _name_codes(response: Schema) -> None:
    # drf-spectacular writes the names of examples in CamelCase. A list of codes is no enumeration: more may come.
    content = response.get("content", {}).get(JSON, {})
    if content.get("schema") == ERROR_REF:
        examples = [example["value"] for example in content["examples"].values()]
        content["examples"] = {value["code"]: {"value": value} for value in examples}
        response["x-error-codes"] = sorted(content["examples"])


def _add_error(responses: Schema, kind: type[LunaError]) -> None:
    response = responses.setdefault(str(kind.status), {"description": "", "content": {}})
    content = response["content"].setdefault(JSON, {"schema": ERROR_REF, "examples": {}})
    if content["schema"] != ERROR_REF:  # a success and a failure with one status, as of /health
        return
    content["examples"][kind.code] = {"value": example_of(kind)}
    response["description"] = ", ".join(filter(None, (response["description"], f"`{kind.code}`")))


def _close_requests(document: Schema) -> None:
    """State what the server does with members of bodies: unknown ones are refused, null means absent."""
    # No member has a default: a generator would send it, although the server's may change.
    schemas = document["components"]["schemas"]
    for path, operation in _operations(document):
        if path in OPEN_REQUESTS:
            continue
        for name in _reached(operation.get("requestBody", {}), schemas):
            schemas[name]["additionalProperties"] = False
            required = schemas[name].get("required", ())
            for key, member in schemas[name].get("properties", {}).items():
                _describe_default(member)
                if key not in required:
                    _allow_null(member)
        for parameter in operation.get("parameters", []):
            _describe_default(parameter["schema"])


def _describe_default(member: Schema) -> None:
    default = member.pop("default", None)
    if default not in (None, "") and "efault" not in member.get("description", ""):
        shown = str(default).lower() if isinstance(default, bool) else default
        member["description"] = " ".join(filter(None, (member.get("description"), f"Default: `{shown}`.")))


def _allow_null(member: Schema) -> None:
    if isinstance(member.get("type"), str):
        member["type"] = [member["type"], "null"]
    if None not in member.get("enum", (None,)):
        member["enum"] = [*member["enum"], None]


def _open_answers(document: Schema) -> None:
    """Replace enumerations in answers by examples of values: a later release may send more."""
    schemas = document["components"]["schemas"]
    sent = {name for _, each in _operations(document) for name in _reached(each.get("requestBody", {}), schemas)}
    for name in schemas.keys() - sent:
        for member in _nested(schemas[name]):
            if len(member.get("enum", ())) > 1:
                member["x-known-values"] = [value for value in member.pop("enum") if value is not None]
                member.pop("x-spec-enum-id", None)


def _operations(document: Schema) -> Iterator[tuple[str, Schema]]:
    for path, methods in document["paths"].items():
        for operation in methods.values():
            yield path, operation


def _reached(part: Any, schemas: Schema, found: set[str] | None = None) -> set[str]:
    """Return the names of all schemas that a part of the document refers to, directly or not."""
    found = set() if found is None else found
    for each in _nested(part):
        name = each.get("$ref", "").rpartition("/")[2]
        if name in schemas and name not in found:
            found.add(name)
            _reached(schemas[name], schemas, found)
    return found


def _nested(part: Any) -> Iterator[Schema]:
    if isinstance(part, dict):
        yield part
    for each in part.values() if isinstance(part, dict) else part if isinstance(part, list) else ():
        yield from _nested(each)
