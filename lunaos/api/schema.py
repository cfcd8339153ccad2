"""OpenAPI: the parts of the contract that all operations share."""

import re
from collections import defaultdict
from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, OpenApiResponse
from rest_framework.serializers import ModelSerializer

from lunaos.errors import LunaError

JSON = "application/json"
SENTENCE_END = re.compile(r"(?<=[.;:!?]) |; |: ")
EVENT_STREAM = "text/event-stream"
ERROR_REF = {"$ref": "#/components/schemas/Error"}
EXAMPLE_REQUEST_ID = "3f2b8c1e-7d44-4f0a-9a55-0d1c2f6b7e90"
ERROR_SCHEMA = {
    "type": "object",
    "required": ["error", "code", "requestId", "docs"],
    "properties": {
        "error": {"type": "string", "description": "A sentence for a person."},
        "code": {"type": "string", "description": "For a program; never changes its meaning."},
        "requestId": {"type": "string", "description": "The header `X-Request-Id`; send it to support."},
        "docs": {"type": "string", "description": "Address of the code's entry in the error catalogue."},
        "reason": {"type": "string", "description": "With `api_key_invalid`: `revoked`, `expired` or `unknown`."},
        "periodEnd": {"type": "string", "description": "With `quota_exceeded`: when the next month starts."},
        "detail": {"description": "More for developers; only when the server runs with DEBUG."},
        "available": {"type": "array", "items": {"type": "string"}, "description": "Names that there are."},
        "agent": {"type": "string"},
        "agentName": {"type": "string"},
        "tier": {"type": ["string", "null"]},
        "used": {
            "type": "integer",
            "description": "Executions this month; with `storage_limit_reached`, of `resource`.",
        },
        "limit": {"type": "integer"},
        "runId": {"type": "string", "description": "The run that failed, or was cancelled."},
        "output": {"type": "string", "description": "What the run had answered before; at most 10 000 characters."},
        "steps": {
            "type": "array",
            "items": {"type": "object"},
            "description": "What a chain's ended steps had answered: `step`, `agent`, `output`, `durationMs`.",
        },
        "running": {
            "type": "array",
            "items": {"type": "string"},
            "description": "With `concurrency_limit_reached`: your runs under way.",
        },
        "resource": {"type": "string", "description": "What is used up in code search: `bytes` or `repositories`."},
        "waitingBytes": {"type": "integer", "description": "Of your files that wait for indexing."},
        "upgradeUrl": {"type": "string"},
        "checkoutUrl": {"type": "string"},
        "message": {"type": "string", "description": "What a subscription would change."},
        "fields": {
            "type": "array",
            "description": "With `validation_error`: one entry a broken rule.",
            "items": {
                "type": "object",
                "required": ["field", "message", "code"],
                "properties": {
                    "field": {"type": "string", "description": "Dotted path, `files.0.path`."},
                    "message": {"type": "string"},
                    "code": {"type": "string"},
                },
            },
        },
    },
}
IDEMPOTENCY_KEY = OpenApiParameter(
    "Idempotency-Key",
    location=OpenApiParameter.HEADER,
    description="For a day, the same key with the same request has one result, and with another one it is a 409.",
)
OTP = OpenApiParameter(
    "X-OTP",
    location=OpenApiParameter.HEADER,
    description="Where the body has no `otp`: the code of an account's second factor. Each code is good once.",
)
IDEMPOTENCY_REPLAYED = OpenApiParameter(
    "Idempotency-Replayed",
    bool,
    OpenApiParameter.HEADER,
    response=[200, 201],
    description="`true` where the answer is that of an earlier request with the same key; else absent.",
)
RESPONSE_HEADERS = {
    "X-Request-Id": ("string", "Yours, where you sent a sane one; it is in every log line of the request."),
    "X-RateLimit-Limit": ("integer", "Requests this minute allows."),
    "X-RateLimit-Remaining": ("integer", "Requests left in this minute."),
    "X-RateLimit-Reset": ("integer", "Unix seconds at which the minute ends."),
    "Server-Timing": ("string", "`total;dur=<ms>`"),
}


RETRY_AFTER_HEADER = {"Retry-After": ("integer", "Seconds after which trying again makes sense.")}
HEADERS_BY_STATUS = {
    "401": {"WWW-Authenticate": ("string", "`Bearer`")},
    "429": RETRY_AFTER_HEADER,
    "503": RETRY_AFTER_HEADER,
}


def errors(*kinds: type[LunaError]) -> dict[int, OpenApiResponse]:
    """Return responses for an operation's own errors: one for each status, with an example for each code."""
    by_status: defaultdict[int, list[type[LunaError]]] = defaultdict(list)
    for kind in kinds:
        by_status[kind.status].append(kind)
    return {status: _error_response(group) for status, group in by_status.items()}


def _error_response(kinds: list[type[LunaError]]) -> OpenApiResponse:
    examples = [OpenApiExample(kind.code, value=example_of(kind)) for kind in kinds]
    return OpenApiResponse(ERROR_REF, description=", ".join(f"`{kind.code}`" for kind in kinds), examples=examples)


def example_of(kind: type[LunaError]) -> dict[str, Any]:
    shared = {"requestId": EXAMPLE_REQUEST_ID, "docs": f"https://lunaos.example/docs/errors#{kind.code}"}
    return {"error": kind.message, "code": kind.code, **kind.members, **shared}


class EnvelopeSchema(AutoSchema):
    """Schema of operations, with successes inside `{"data": …}` as the renderer sends them."""

    def get_summary(self) -> str | None:
        """Return the first sentence of the description, which tools show in their lists of operations."""
        first, *_ = self.get_description().split("\n\n")
        return SENTENCE_END.split(" ".join(first.split()))[0].removesuffix(".") or None

    def is_deprecated(self) -> bool:
        return getattr(self.view, "action", None) in getattr(self.view, "deprecated", ())

    def _get_response_for_code(self, serializer: Any, status_code: str, *args: Any, **kwargs: Any) -> dict[str, Any]:
        response = super()._get_response_for_code(  # type: ignore[no-untyped-call]
            serializer, status_code, *args, **kwargs
        )
        content = response.get("content", {}).get(JSON)
        if content and content["schema"] != ERROR_REF:
            content["schema"] = {"type": "object", "required": ["data"], "properties": {"data": content["schema"]}}
        if stream := response.get("content", {}).get(EVENT_STREAM):
            response["content"][EVENT_STREAM] = _event_stream(stream)
        return response

    def _map_basic_serializer(self, serializer: Any, direction: Any) -> dict[str, Any]:
        """Mark all members of a row as required in responses, defaults included."""
        schema: dict[str, Any] = super()._map_basic_serializer(serializer, direction)  # type: ignore[no-untyped-call]
        if direction == "response" and isinstance(serializer, ModelSerializer) and schema.get("properties"):
            schema["required"] = sorted(schema["properties"])
        return schema

    def _get_request_body(self, direction: Any = "request") -> Any:
        """Document the body of a DELETE whose view has `deletes_with_body`; drf-spectacular omits it."""
        if self.method != "DELETE" or not getattr(self.view, "deletes_with_body", False):
            return super()._get_request_body(direction)  # type: ignore[no-untyped-call]
        self.method = "POST"
        try:
            return super()._get_request_body(direction)  # type: ignore[no-untyped-call]
        finally:
            self.method = "DELETE"


def _event_stream(stream: dict[str, Any]) -> dict[str, Any]:
    # OpenAPI 3.1 has no schema for events. Generators of clients read the body as text, and tools that know the
    # extension find the schema of each event's JSON.
    return {**stream, "schema": {"type": "string"}, "x-event-schema": stream["schema"]}


class BearerScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    target_class = "apikeys.authentication.BearerAuthentication"
    name = "bearer"

    def get_security_definition(self, auto_schema: AutoSchema) -> dict[str, str]:
        return {
            "type": "http",
            "scheme": "bearer",
            "description": "A token from sign-up or login, or an API key `lnos_live_…`.",
        }
