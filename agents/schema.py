"""An agent's execution, for the OpenAPI document: drf-spectacular cannot see what a stream carries."""

from typing import Any

from drf_spectacular.utils import OpenApiExample, OpenApiResponse

from accounts.errors import EmailNotVerified, IdempotencyConflict
from agents.errors import UnknownAgent
from agents.providers.errors import (
    ProviderFailed,
    ProviderNotConfigured,
    ProviderTimeout,
    ProviderUnavailable,
    UnknownModel,
    UnknownProvider,
)
from agents.serializers import ExecuteSerializer
from billing.errors import ProRequired, QuotaExceeded
from lunaos.api.schema import IDEMPOTENCY_KEY, errors
from lunaos.errors import LunaError
from rag.errors import (
    EmbeddingsFailed,
    EmbeddingsNotConfigured,
    EmbeddingsUnavailable,
    ReindexRequired,
    UnknownRepository,
)
from runs.errors import OutputTooLong
from runs.schema import AGENT_EVENT

EXECUTION_ERRORS: tuple[type[LunaError], ...] = (
    *(UnknownRepository, ReindexRequired, EmbeddingsNotConfigured, EmbeddingsUnavailable, EmbeddingsFailed),
    *(UnknownProvider, UnknownModel, UnknownAgent, EmailNotVerified, ProRequired, QuotaExceeded, IdempotencyConflict),
    *(ProviderFailed, ProviderNotConfigured, ProviderUnavailable, ProviderTimeout, OutputTooLong),
)
EXAMPLE = """id: 1
data: {"type":"start","agent":"code-review","model":"deepseek-chat","provider":"deepseek","runId":"…"}

id: 2
data: {"type":"chunk","content":"The function subtracts"}

id: 3
data: {"type":"done","tokens":{"input":812,"output":240},"cost":"$0.0003","duration":"1.2s","finishReason":"stop"}

"""

EXECUTE: dict[str, Any] = {
    "operation_id": "executeAgent",
    "request": ExecuteSerializer,
    "parameters": [IDEMPOTENCY_KEY],
    "examples": [
        OpenApiExample(
            "Review a function",
            value={"agent": "code-review", "context": "def add(a, b): return a - b"},
            request_only=True,
        )
    ],
    "responses": {
        (200, "text/event-stream"): OpenApiResponse(
            AGENT_EVENT,
            description="Server-sent events; each `data` line holds one event. A comment line comes in silence.",
            examples=[OpenApiExample("stream", value=EXAMPLE)],
        ),
        **errors(*EXECUTION_ERRORS),
    },
}
