"""OpenAPI description of executions and provider keys."""

from typing import Any

from drf_spectacular.utils import OpenApiExample, OpenApiParameter, OpenApiResponse

from accounts.errors import EmailNotVerified, IdempotencyConflict
from agents.errors import UnknownAgent
from agents.providers.errors import (
    ContentFiltered,
    EmptyAnswer,
    OutputLimitReached,
    ProviderFailed,
    ProviderKeyNotFound,
    ProviderKeyRejected,
    ProviderKeyUnreadable,
    ProviderNotConfigured,
    ProviderQuotaExhausted,
    ProviderRefused,
    ProviderTakesNoKey,
    ProviderTimeout,
    ProviderUnavailable,
    UnknownModel,
    UnknownProvider,
)
from agents.serializers import (
    ExecuteSerializer,
    KeySerializer,
    ProviderListSerializer,
    ProviderSerializer,
)
from billing.errors import ProRequired, QuotaExceeded
from lunaos.api.schema import IDEMPOTENCY_KEY, IDEMPOTENCY_REPLAYED, errors
from lunaos.api.serializers import MessageSerializer
from lunaos.errors import LunaError
from rag.errors import (
    EmbeddingsFailed,
    EmbeddingsNotConfigured,
    EmbeddingsUnavailable,
    ReindexRequired,
    UnknownRepository,
)
from runs.errors import ConcurrencyLimitReached, OutputTooLong, RunCancelled, SpendLimitReached
from runs.schema import (
    AGENT_EVENT,
    EXECUTION_HEADERS,
    QUOTA_DESCRIPTION,
    STREAM_DESCRIPTION,
    PendingRunSerializer,
    RunResultSerializer,
)

EXECUTION_ERRORS: tuple[type[LunaError], ...] = (
    *(UnknownRepository, ReindexRequired, EmbeddingsNotConfigured, EmbeddingsUnavailable, EmbeddingsFailed),
    *(UnknownProvider, UnknownModel, UnknownAgent, EmailNotVerified, ProRequired, QuotaExceeded, IdempotencyConflict),
    *(ProviderFailed, ProviderNotConfigured, ProviderUnavailable, ProviderTimeout, OutputTooLong, SpendLimitReached),
    *(ProviderKeyNotFound, ProviderKeyRejected, ProviderKeyUnreadable, ProviderQuotaExhausted),
    *(OutputLimitReached, ContentFiltered, ProviderRefused, EmptyAnswer, ConcurrencyLimitReached, RunCancelled),
)
EXAMPLE = """id: 1
data: {"type":"start","agent":"code-review","model":"deepseek-chat","provider":"deepseek","runId":"…"}

id: 2
data: {"type":"progress","state":"thinking"}

id: 3
data: {"type":"chunk","content":"The function subtracts"}

id: 4
data: {"type":"done",\
"tokens":{"input":812,"output":240,"reasoning":96,"cacheRead":640,"cacheWrite":0,"estimated":false},\
"cost":"$0.0003","duration":"1.2s","finishReason":"stop"}

"""

EXECUTE: dict[str, Any] = {
    "operation_id": "executeAgent",
    "request": ExecuteSerializer,
    "parameters": [IDEMPOTENCY_KEY, IDEMPOTENCY_REPLAYED, *EXECUTION_HEADERS],
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
            description=f"{STREAM_DESCRIPTION} {QUOTA_DESCRIPTION}",
            examples=[OpenApiExample("stream", value=EXAMPLE)],
        ),
        (200, "application/json"): RunResultSerializer,
        202: PendingRunSerializer,
        **errors(*EXECUTION_ERRORS),
    },
}
PROVIDER_NAME = OpenApiParameter("name", str, OpenApiParameter.PATH, description="As in the list of providers.")
PROVIDERS: dict[str, Any] = {"operation_id": "listProviders", "responses": {200: ProviderListSerializer}}
PUT_KEY: dict[str, Any] = {
    "operation_id": "setProviderKey",
    "request": KeySerializer,
    "parameters": [PROVIDER_NAME],
    "responses": {200: ProviderSerializer, **errors(UnknownProvider, ProviderTakesNoKey)},
}
REMOVE_KEY: dict[str, Any] = {
    "operation_id": "removeProviderKey",
    "request": None,
    "parameters": [PROVIDER_NAME],
    "responses": {200: MessageSerializer, **errors(UnknownProvider, ProviderKeyNotFound)},
}
