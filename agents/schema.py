"""The stream of an execution, for the OpenAPI document: drf-spectacular cannot see what a stream carries."""

from typing import Any

from drf_spectacular.utils import OpenApiExample, OpenApiResponse, PolymorphicProxySerializer
from rest_framework import serializers

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
from lunaos.api.schema import errors


class StartEventSerializer(serializers.Serializer[Any]):
    type = serializers.ChoiceField(["start"])
    agent = serializers.CharField()
    model = serializers.CharField()
    provider = serializers.CharField()
    runId = serializers.UUIDField()
    fallbackFrom = serializers.CharField(required=False, help_text="The provider asked for, where another one answers.")
    notice = serializers.CharField(required=False, help_text="What to know of this model.")


class ChunkEventSerializer(serializers.Serializer[Any]):
    type = serializers.ChoiceField(["chunk"])
    content = serializers.CharField(help_text="The chunks joined are the model's answer, byte for byte.")


class TokensSerializer(serializers.Serializer[Any]):
    input = serializers.IntegerField()
    output = serializers.IntegerField()


class DoneEventSerializer(serializers.Serializer[Any]):
    type = serializers.ChoiceField(["done"])
    tokens = TokensSerializer()
    cost = serializers.CharField(help_text="US dollars, `$0.0003`.")
    duration = serializers.CharField(help_text="Seconds, `1.2s`.")
    finishReason = serializers.CharField(allow_null=True, help_text="`stop`, or `length` where the answer was cut.")


class ErrorEventSerializer(serializers.Serializer[Any]):
    type = serializers.ChoiceField(["error"])
    error = serializers.CharField()
    code = serializers.CharField()


AGENT_EVENT = PolymorphicProxySerializer(
    component_name="AgentEvent",
    serializers={
        "start": StartEventSerializer,
        "chunk": ChunkEventSerializer,
        "done": DoneEventSerializer,
        "error": ErrorEventSerializer,
    },
    resource_type_field_name="type",
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
        **errors(
            *(UnknownProvider, UnknownModel, ProRequired, QuotaExceeded, UnknownAgent),
            *(ProviderFailed, ProviderNotConfigured, ProviderUnavailable, ProviderTimeout),
        ),
    },
}
