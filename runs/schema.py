"""The events of a run, for the OpenAPI document: drf-spectacular cannot see what a stream carries."""

from typing import Any
from uuid import UUID

from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, PolymorphicProxySerializer
from rest_framework import serializers

from lunaos.api.schema import errors
from lunaos.errors import NotFound
from runs.errors import EventsExpired, RunInterrupted


def _sent(name: str, kind: type, description: str) -> OpenApiParameter:
    return OpenApiParameter(name, kind, OpenApiParameter.HEADER, response=[200], description=description)


EXECUTION_HEADERS = [
    _sent("X-Run-Id", UUID, "The run, to follow, cancel or read; errors of a run that had begun carry it, too."),
    _sent("X-Usage-Used", int, "Executions of this month, this one counted."),
    _sent("X-Usage-Limit", int, "Executions that the tier allows a month."),
    _sent("X-Usage-Remaining", int, "Executions left this month."),
    _sent("X-Usage-Warning", str, "From 80 % on: `83% of monthly limit reached`."),
]


class StartEventSerializer(serializers.Serializer[Any]):
    type = serializers.ChoiceField(["start"])
    agent = serializers.CharField()
    model = serializers.CharField()
    provider = serializers.CharField()
    runId = serializers.UUIDField()
    fallbackFrom = serializers.CharField(required=False, help_text="The provider asked for, where another one answers.")
    notice = serializers.CharField(required=False, help_text="What to know of this model.")


class SourceSerializer(serializers.Serializer[Any]):
    path = serializers.CharField()
    startLine = serializers.IntegerField()
    endLine = serializers.IntegerField()
    score = serializers.FloatField(help_text="0 to 1.")


class RagEventSerializer(serializers.Serializer[Any]):
    type = serializers.ChoiceField(["rag"])
    sources = SourceSerializer(many=True, help_text="The passages in the prompt; none where nothing was found.")


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


class ChainStartEventSerializer(serializers.Serializer[Any]):
    type = serializers.ChoiceField(["chain_start"])
    steps = serializers.IntegerField()
    runId = serializers.UUIDField()
    fromStep = serializers.IntegerField(required=False, help_text="Where a failed chain was resumed.")


class ShortenedSerializer(serializers.Serializer[Any]):
    step = serializers.IntegerField()
    characters = serializers.IntegerField(help_text="Left out of that step's output.")


class StepStartEventSerializer(serializers.Serializer[Any]):
    type = serializers.ChoiceField(["step_start"])
    step = serializers.IntegerField(help_text="From 1.")
    agent = serializers.CharField()
    restarted = serializers.BooleanField(
        required=False, help_text="The step begins anew: drop the chunks it had sent before."
    )
    shortened = ShortenedSerializer(
        many=True, required=False, help_text="Earlier outputs that were cut to fit the model's window."
    )


class StepDoneEventSerializer(serializers.Serializer[Any]):
    type = serializers.ChoiceField(["step_done"])
    step = serializers.IntegerField()
    agent = serializers.CharField()
    duration = serializers.CharField(help_text="Seconds, `1.4s`.")
    model = serializers.CharField()
    provider = serializers.CharField()
    fallbackFrom = serializers.CharField(
        required=False, help_text="The provider asked for, where another one answered."
    )
    notice = serializers.CharField(required=False, help_text="What to know of this model.")


class ChainDoneEventSerializer(serializers.Serializer[Any]):
    type = serializers.ChoiceField(["chain_done"])
    totalDuration = serializers.CharField(help_text="Seconds, `5.3s`.")
    totalTokens = serializers.IntegerField()
    cost = serializers.CharField(help_text="US dollars, `$0.0003`.")


class ErrorEventSerializer(serializers.Serializer[Any]):
    type = serializers.ChoiceField(["error"])
    error = serializers.CharField()
    code = serializers.CharField()
    retryAfter = serializers.IntegerField(required=False, help_text="Seconds after which trying again makes sense.")


class CancelledEventSerializer(serializers.Serializer[Any]):
    type = serializers.ChoiceField(["cancelled"])


ENDS = {"error": ErrorEventSerializer, "cancelled": CancelledEventSerializer}
OF_AGENTS = {
    "start": StartEventSerializer,
    "rag": RagEventSerializer,
    "chunk": ChunkEventSerializer,
    "done": DoneEventSerializer,
}
OF_CHAINS = {
    "chain_start": ChainStartEventSerializer,
    "rag": RagEventSerializer,
    "step_start": StepStartEventSerializer,
    "chunk": ChunkEventSerializer,
    "step_done": StepDoneEventSerializer,
    "chain_done": ChainDoneEventSerializer,
}


def _event(name: str, kinds: dict[str, Any]) -> PolymorphicProxySerializer:
    return PolymorphicProxySerializer(component_name=name, serializers=kinds, resource_type_field_name="type")


AGENT_EVENT = _event("AgentEvent", {**OF_AGENTS, **ENDS})
CHAIN_EVENT = _event("ChainEvent", {**OF_CHAINS, **ENDS})
RUN_EVENT = _event("RunEvent", {**OF_AGENTS, **OF_CHAINS, **ENDS})
EVENTS: dict[str, Any] = {
    "operation_id": "followRun",
    "parameters": [
        OpenApiParameter(
            "Last-Event-ID",
            int,
            location=OpenApiParameter.HEADER,
            description="The `id` of the last event you have; an EventSource sends it by itself.",
        )
    ],
    "responses": {
        (200, "text/event-stream"): OpenApiResponse(RUN_EVENT, description="The events behind Last-Event-ID."),
        204: OpenApiResponse(description="The run has ended and you have all its events."),
        **errors(NotFound, EventsExpired, RunInterrupted),
    },
}
