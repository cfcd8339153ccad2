"""A chain's execution in the OpenAPI document."""

from typing import Any

from drf_spectacular.extensions import OpenApiSerializerFieldExtension
from drf_spectacular.utils import OpenApiExample, OpenApiResponse

from agents.schema import EXECUTION_ERRORS
from chains.errors import ChainTooLong, UnknownChain
from chains.models import MAX_STEPS
from chains.serializers import ExecuteChainSerializer, StepInputSerializer
from lunaos.api.schema import IDEMPOTENCY_KEY, IDEMPOTENCY_REPLAYED, errors
from lunaos.errors import NotFound
from runs.errors import EventsExpired, RunInterrupted, RunNotResumable
from runs.schema import (
    CHAIN_EVENT,
    EXECUTION_HEADERS,
    QUOTA_DESCRIPTION,
    STREAM_DESCRIPTION,
    PendingRunSerializer,
    RunResultSerializer,
)


class StepsFieldSchema(OpenApiSerializerFieldExtension):  # type: ignore[no-untyped-call]
    """A step is a slug, or an object with the slug."""

    target_class = "chains.serializers.StepsField"

    def map_serializer_field(self, auto_schema: Any, direction: Any) -> dict[str, Any]:
        step = auto_schema.resolve_serializer(StepInputSerializer(), direction).ref
        return {
            "type": "array",
            "items": {"oneOf": [{"type": "string", "maxLength": 64}, step]},
            "minItems": 1,
            "maxItems": MAX_STEPS,
        }


EXAMPLE = """id: 1
data: {"type":"chain_start","steps":2,"runId":"…"}

id: 2
data: {"type":"step_start","step":1,"agent":"code-review"}

id: 3
data: {"type":"progress","state":"queued"}

id: 4
data: {"type":"progress","state":"fallback","provider":"openai","model":"gpt-4o"}

id: 5
data: {"type":"chunk","content":"The function subtracts"}

id: 6
data: {"type":"step_done","step":1,"agent":"code-review","duration":"1.4s","model":"gpt-4o","provider":"openai",\
"fallbackFrom":"deepseek"}

…

id: 9
data: {"type":"chain_done","totalDuration":"2.9s","totalTokens":1804,\
"tokens":{"input":1404,"output":400,"reasoning":0,"cacheRead":1024,"cacheWrite":0,"estimated":false},"cost":"$0.0007"}

"""
STREAM = OpenApiResponse(
    CHAIN_EVENT,
    description=f"{STREAM_DESCRIPTION} {QUOTA_DESCRIPTION} A chain counts once.",
    examples=[OpenApiExample("stream", value=EXAMPLE)],
)
EXECUTE: dict[str, Any] = {
    "operation_id": "executeChain",
    "request": ExecuteChainSerializer,
    "parameters": [IDEMPOTENCY_KEY, IDEMPOTENCY_REPLAYED, *EXECUTION_HEADERS],
    "examples": [
        OpenApiExample(
            "A preset",
            value={"chain": "full-review", "context": "def add(a, b): return a - b"},
            request_only=True,
        ),
        OpenApiExample(
            "Steps of your own",
            value={"steps": [{"agent": "code-review"}, {"agent": "documentation"}], "context": "def add(a, b): …"},
            request_only=True,
        ),
    ],
    "responses": {
        (200, "text/event-stream"): STREAM,
        (200, "application/json"): RunResultSerializer,
        202: PendingRunSerializer,
        **errors(*EXECUTION_ERRORS, ChainTooLong, UnknownChain, RunInterrupted),
    },
}
RESUME: dict[str, Any] = {
    "operation_id": "resumeRun",
    "request": None,
    "parameters": EXECUTION_HEADERS,
    "responses": {
        (200, "text/event-stream"): STREAM,
        **errors(*EXECUTION_ERRORS, NotFound, RunNotResumable, EventsExpired, RunInterrupted),
    },
}
