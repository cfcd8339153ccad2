"""The events of a run in the OpenAPI document.

drf-spectacular cannot see the content of a stream.
"""

from typing import Any
from uuid import UUID

from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, PolymorphicProxySerializer
from rest_framework import serializers

from lunaos.api.schema import errors
from lunaos.errors import NotFound
from runs.errors import EventsExpired, RunInterrupted
from runs.serializers import TokensSerializer

STREAM_DESCRIPTION = (
    "Server-sent events; each `data` line holds one event. Comment lines fill silence. Ignore types, members and "
    "values that you do not know: more may be added."
)
QUOTA_DESCRIPTION = (
    "An execution counts against the month's quota where the run showed text of an answer; where its owner cancelled "
    "it, or left with `onDisconnect: cancel`, after a provider had been asked; and where it ended as "
    "`output_limit_reached`, `content_filtered` or `provider_refused`, which the request causes. It does not count "
    "where the run showed nothing because the provider or the platform failed, or was cancelled before any provider "
    "was asked."
)
COST_KNOWN = "Only present if false: the price list lacks a model that was used, so `cost` is too low."


def _response_header(name: str, kind: type, description: str) -> OpenApiParameter:
    return OpenApiParameter(name, kind, OpenApiParameter.HEADER, response=[200, 202], description=description)


EXECUTION_HEADERS = [
    _response_header(
        "X-Run-Id", UUID, "The run's id, to follow, cancel or read it; also sent with errors of a run that has started."
    ),
    _response_header("X-Usage-Used", int, "Executions of this month, including this one."),
    _response_header("X-Usage-Limit", int, "Executions per month of the tier."),
    _response_header("X-Usage-Remaining", int, "Executions left this month."),
    _response_header("X-Usage-Warning", str, "From 80 %: `83% of monthly limit reached`."),
]


NOTICE_HELP = "A remark on the model: the embedded one demonstrates the stream and cannot review."


class StartEventSerializer(serializers.Serializer[Any]):
    type = serializers.ChoiceField(["start"])
    agent = serializers.CharField()
    model = serializers.CharField(
        help_text="The model that answers, or the first one asked; a `progress` event names a fallback."
    )
    provider = serializers.CharField()
    runId = serializers.UUIDField()
    fallbackFrom = serializers.CharField(required=False, help_text="The requested provider, if another one answers.")
    notice = serializers.CharField(required=False, help_text=NOTICE_HELP)


class SourceSerializer(serializers.Serializer[Any]):
    path = serializers.CharField()
    startLine = serializers.IntegerField()
    endLine = serializers.IntegerField()
    score = serializers.FloatField(help_text="0 to 1.")


class RagEventSerializer(serializers.Serializer[Any]):
    type = serializers.ChoiceField(["rag"])
    sources = SourceSerializer(many=True, help_text="The passages in the prompt; empty if none was found.")


class RunProgressEventSerializer(serializers.Serializer[Any]):
    """Progress before the first chunk of an answer; in a chain, of each step."""

    type = serializers.ChoiceField(["progress"])
    state = serializers.CharField(
        help_text="`queued`: the provider is alive but has not started the answer. `thinking`: the model reasons "
        "before it answers. `fallback`: the previous provider failed without text, and `provider` and "
        "`model` answer instead. `queued` and `thinking` come at most once each, in a chain once per step."
    )
    provider = serializers.CharField(required=False, help_text="With `fallback`.")
    model = serializers.CharField(required=False, help_text="With `fallback`.")


class ChunkEventSerializer(serializers.Serializer[Any]):
    type = serializers.ChoiceField(["chunk"])
    content = serializers.CharField(help_text="The chunks joined are the model's answer, byte for byte.")


class DoneEventSerializer(serializers.Serializer[Any]):
    type = serializers.ChoiceField(["done"])
    tokens = TokensSerializer()
    cost = serializers.CharField(help_text="US dollars, `$0.0003`.")
    costKnown = serializers.BooleanField(required=False, help_text=COST_KNOWN)
    duration = serializers.CharField(help_text="Seconds since the request arrived, `1.2s`.")
    durationMs = serializers.IntegerField(required=False, help_text="The same in milliseconds; not in older runs.")
    finishReason = serializers.CharField(
        allow_null=True,
        help_text="Why the model stopped, in the provider's word: `stop` at the end of the answer; `length` (elsewhere "
        "`max_tokens`) where the output limit cut it; `content_filter` where the provider's filter did; null where the "
        "provider does not say.",
    )


class ChainStartEventSerializer(serializers.Serializer[Any]):
    type = serializers.ChoiceField(["chain_start"])
    steps = serializers.IntegerField()
    runId = serializers.UUIDField()
    fromStep = serializers.IntegerField(required=False, help_text="The step at which a failed chain was resumed.")
    notice = serializers.CharField(required=False, help_text=NOTICE_HELP)


class ShortenedSerializer(serializers.Serializer[Any]):
    step = serializers.IntegerField()
    characters = serializers.IntegerField(help_text="Characters left out of that step's output.")


class StepStartEventSerializer(serializers.Serializer[Any]):
    type = serializers.ChoiceField(["step_start"])
    step = serializers.IntegerField(help_text="From 1.")
    agent = serializers.CharField()
    restarted = serializers.BooleanField(
        required=False, help_text="The step is restarted: drop the chunks that it sent before."
    )
    shortened = ShortenedSerializer(
        many=True, required=False, help_text="Earlier outputs that were truncated to fit the model's context window."
    )


class StepDoneEventSerializer(serializers.Serializer[Any]):
    type = serializers.ChoiceField(["step_done"])
    step = serializers.IntegerField()
    agent = serializers.CharField()
    duration = serializers.CharField(help_text="Seconds, `1.4s`.")
    durationMs = serializers.IntegerField(required=False, help_text="The same in milliseconds; not in older runs.")
    model = serializers.CharField()
    provider = serializers.CharField()
    fallbackFrom = serializers.CharField(required=False, help_text="The requested provider, if another one answered.")
    notice = serializers.CharField(required=False, help_text=NOTICE_HELP)


class ChainDoneEventSerializer(serializers.Serializer[Any]):
    type = serializers.ChoiceField(["chain_done"])
    totalDuration = serializers.CharField(help_text="Sum of the steps' durations in seconds, `5.3s`.")
    totalDurationMs = serializers.IntegerField(required=False, help_text="The same in milliseconds; not in older runs.")
    totalTokens = serializers.IntegerField(help_text="Sum of `tokens.input` and `tokens.output`.")
    tokens = TokensSerializer()
    cost = serializers.CharField(help_text="US dollars, `$0.0003`.")
    costKnown = serializers.BooleanField(required=False, help_text=COST_KNOWN)


class ErrorEventSerializer(serializers.Serializer[Any]):
    type = serializers.ChoiceField(["error"])
    error = serializers.CharField(help_text="A sentence for people.")
    code = serializers.CharField(help_text="One of the codes of the execution's HTTP errors.")
    retryAfter = serializers.IntegerField(required=False, help_text="Seconds to wait before a retry.")


class CancelledEventSerializer(serializers.Serializer[Any]):
    type = serializers.ChoiceField(["cancelled"])


TERMINAL_EVENTS = {"error": ErrorEventSerializer, "cancelled": CancelledEventSerializer}
AGENT_EVENTS = {
    "start": StartEventSerializer,
    "progress": RunProgressEventSerializer,
    "rag": RagEventSerializer,
    "chunk": ChunkEventSerializer,
    "done": DoneEventSerializer,
}
CHAIN_EVENTS = {
    "chain_start": ChainStartEventSerializer,
    "rag": RagEventSerializer,
    "step_start": StepStartEventSerializer,
    "progress": RunProgressEventSerializer,
    "chunk": ChunkEventSerializer,
    "step_done": StepDoneEventSerializer,
    "chain_done": ChainDoneEventSerializer,
}


def _event(name: str, kinds: dict[str, Any]) -> PolymorphicProxySerializer:
    return PolymorphicProxySerializer(component_name=name, serializers=kinds, resource_type_field_name="type")


AGENT_EVENT = _event("AgentEvent", {**AGENT_EVENTS, **TERMINAL_EVENTS})
CHAIN_EVENT = _event("ChainEvent", {**CHAIN_EVENTS, **TERMINAL_EVENTS})
RUN_EVENT = _event("RunEvent", {**AGENT_EVENTS, **CHAIN_EVENTS, **TERMINAL_EVENTS})
FOLLOW_RUN: dict[str, Any] = {
    "operation_id": "followRun",
    "parameters": [
        OpenApiParameter(
            "Last-Event-ID",
            int,
            location=OpenApiParameter.HEADER,
            description="The `id` of the last event you received; an EventSource sends it automatically.",
        )
    ],
    "responses": {
        (200, "text/event-stream"): OpenApiResponse(
            RUN_EVENT, description=f"The events after Last-Event-ID. {STREAM_DESCRIPTION}"
        ),
        204: OpenApiResponse(description="The run has ended, and you have all its events."),
        **errors(NotFound, EventsExpired, RunInterrupted),
    },
}


class ResultStepSerializer(serializers.Serializer[Any]):
    step = serializers.IntegerField(help_text="From 1.")
    agent = serializers.CharField()
    output = serializers.CharField()
    durationMs = serializers.IntegerField()


class RunResultSerializer(serializers.Serializer[Any]):
    """The answer to `stream: false`, when the run has ended."""

    runId = serializers.UUIDField()
    output = serializers.CharField(help_text="For a chain, of the last step.")
    tokens = TokensSerializer()
    cost = serializers.CharField(help_text="US dollars, `$0.0003`.")
    durationMs = serializers.IntegerField(help_text="Of the answer; for a chain, the sum of its steps.")
    finishReason = serializers.CharField(allow_null=True, help_text="As in `done`; null for a chain.")
    steps = ResultStepSerializer(many=True, required=False, help_text="Of a chain.")


class PendingRunSerializer(serializers.Serializer[Any]):
    """The answer to `stream: false` after 120 seconds."""

    runId = serializers.UUIDField()
    status = serializers.CharField()
    eventsUrl = serializers.CharField(help_text="Follow the run here.")
