"""Runs as their owners see them."""

from typing import Any, TypeVar

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from billing.serializers import PeriodSerializer
from lunaos.api.fields import NamedChoiceField
from lunaos.api.serializers import QuerySerializer
from runs import texts
from runs.metering.key_usage import KeyUsage
from runs.metering.tokens import TokenColumns, TokenUsage
from runs.models import Run, RunStep, Status

Row = TypeVar("Row", Run, RunStep)


class RunFilterSerializer(QuerySerializer):
    """The list's query parameters."""

    agent = serializers.CharField(max_length=64, required=False)
    chain = serializers.CharField(max_length=64, required=False, help_text="A preset's id, or `custom`.")
    status = NamedChoiceField(Status.choices, required=False)
    apiKey = serializers.UUIDField(required=False, help_text="The id of the API key that started the runs.")
    limit = serializers.IntegerField(
        min_value=1, max_value=100, required=False, help_text="Runs per page, 20 by default."
    )
    cursor = serializers.CharField(required=False, help_text="`nextCursor` of the previous page.")


class LastEventSerializer(serializers.Serializer[Any]):
    """The header of a reconnecting client (WHATWG HTML 9.2.4).

    Event ids are positions.
    """

    def get_fields(self) -> dict[str, serializers.Field]:
        return {"Last-Event-ID": serializers.IntegerField(min_value=0, max_value=2**53)}


class TokensSerializer(serializers.Serializer[Any]):
    """Token counts of a run, of a step, and of the events that end them."""

    input = serializers.IntegerField(
        help_text="Of the prompt, including those read from and written to the provider's cache."
    )
    output = serializers.IntegerField(help_text="Of the answer, including its reasoning.")
    reasoning = serializers.IntegerField(help_text="Of the output, the model's reasoning before the answer.")
    cacheRead = serializers.IntegerField(help_text="Of the input, read from the provider's cache.")
    cacheWrite = serializers.IntegerField(help_text="Of the input, written to the provider's cache.")
    estimated = serializers.BooleanField(
        help_text="True if `input` or `output` is partly an estimate, because a provider did not report its count."
    )

    def to_representation(self, instance: TokenColumns) -> dict[str, Any]:
        return TokenUsage.from_row(instance).as_json()


class FiguresSerializer(serializers.ModelSerializer[Row]):
    """Members that runs and steps have in common."""

    inputTokens = serializers.IntegerField(source="input_tokens", help_text="The same as `tokens.input`.")
    outputTokens = serializers.IntegerField(source="output_tokens", help_text="The same as `tokens.output`.")
    tokens = TokensSerializer(
        source="*", read_only=True, help_text="Of all requests to providers, including failed and interrupted ones."
    )
    costUsd = serializers.DecimalField(
        source="cost_usd",
        max_digits=12,
        decimal_places=6,
        help_text="Cost of the tokens by the providers' price lists. On your own key the provider bills you.",
    )
    costKnown = serializers.BooleanField(
        source="cost_known",
        help_text="False if the price list lacks a model that was used: `costUsd` is too low then.",
    )


FIGURE_FIELDS = ("inputTokens", "outputTokens", "tokens", "costUsd", "costKnown")


class RunKeySerializer(serializers.Serializer[Any]):
    """The API key that started a run."""

    id = serializers.UUIDField()
    prefix = serializers.CharField(help_text="The beginning of the key.")


class RunSerializer(FiguresSerializer[Run]):
    """One execution."""

    agent = serializers.CharField(help_text="Empty for a chain.")
    chain = serializers.CharField(help_text="The preset's id or `custom`; empty for an agent.")
    ownKey = serializers.BooleanField(source="own_key", help_text="On your own key for the provider.")
    errorCode = serializers.CharField(source="error_code", help_text="Empty unless the run failed.")
    providerStatus = serializers.IntegerField(
        source="provider_status",
        allow_null=True,
        help_text="HTTP status of the provider's response with which the run failed; null without one.",
    )
    durationMs = serializers.IntegerField(
        source="duration_ms", allow_null=True, help_text="From `createdAt` to `finishedAt`; null until the run ends."
    )
    firstTokenMs = serializers.IntegerField(
        source="first_token_ms",
        allow_null=True,
        help_text="From `createdAt` to the first text of the answer, for a chain of its first answer; never above "
        "`durationMs`; null without text.",
    )
    createdAt = serializers.DateTimeField(source="created_at", help_text="When the request arrived.")
    finishedAt = serializers.DateTimeField(
        source="finished_at", allow_null=True, help_text="When the run ended; null until then."
    )
    cancelRequestedAt = serializers.DateTimeField(source="cancel_requested_at", allow_null=True)
    apiKey = serializers.SerializerMethodField(
        help_text="The API key that started the run, also after the key was revoked; null for a token."
    )

    class Meta:
        model = Run
        fields = (
            *("id", "agent", "chain", "provider", "model", "ownKey", "status", "errorCode", "providerStatus"),
            *FIGURE_FIELDS,
            *("durationMs", "firstTokenMs", "createdAt", "finishedAt", "cancelRequestedAt", "apiKey"),
        )

    @extend_schema_field(RunKeySerializer(allow_null=True))
    def get_apiKey(self, run: Run) -> dict[str, Any] | None:  # noqa: N802 - the member's name
        return {"id": run.api_key_id, "prefix": run.api_key_prefix} if run.api_key_id else None


class KeyUsageSerializer(serializers.Serializer[KeyUsage]):
    """What an API key has used in this calendar month (UTC)."""

    period = PeriodSerializer(source="*")
    runs = serializers.IntegerField(help_text="Runs that the key started, those that failed included.")
    inputTokens = serializers.IntegerField(source="input_tokens")
    outputTokens = serializers.IntegerField(source="output_tokens")
    costUsd = serializers.DecimalField(
        source="total_usd", max_digits=14, decimal_places=6, help_text="Sum of `costUsd` of the runs."
    )
    costKnown = serializers.BooleanField(
        source="cost_known", help_text="False if the price list lacks a model that was used: `costUsd` is too low then."
    )


class StepSerializer(FiguresSerializer[RunStep]):
    """One step of a chain that has ended."""

    step = serializers.IntegerField(source="position", help_text="From 1.")
    errorCode = serializers.CharField(source="error_code", help_text="Empty unless the step failed.")
    durationMs = serializers.IntegerField(
        source="duration_ms", help_text="Of the step's answer, including earlier executions of the step."
    )
    finishedAt = serializers.DateTimeField(source="finished_at", help_text="When the step ended.")

    class Meta:
        model = RunStep
        fields = (
            *("step", "agent", "status", "errorCode", "provider", "model", *FIGURE_FIELDS),
            *("durationMs", "finishedAt", "output"),
        )


class LastAttemptSerializer(serializers.Serializer[Any]):
    """The last request to a provider that failed, of a failed run."""

    provider = serializers.CharField()
    model = serializers.CharField()
    code = serializers.CharField(help_text="As `errorCode`.")
    status = serializers.IntegerField(
        allow_null=True, help_text="HTTP status of the provider's response; null without one."
    )
    said = serializers.CharField(
        help_text="The provider's message, at most 300 characters, without keys, accounts, hosts and paths; only for "
        "a run on your own key, else empty."
    )


class RunDetailSerializer(RunSerializer):
    """A run with its input and output, which are empty once the retention has passed."""

    input = serializers.SerializerMethodField()
    output = serializers.SerializerMethodField(help_text="For a chain, of the last step.")
    error = serializers.SerializerMethodField(
        help_text="The error sentence of a failed run, as in its stream; else empty."
    )
    lastAttempt = serializers.SerializerMethodField()
    steps = serializers.SerializerMethodField()

    class Meta(RunSerializer.Meta):
        fields = (*RunSerializer.Meta.fields, "input", "output", "error", "lastAttempt", "steps")  # type: ignore[assignment]

    def get_input(self, run: Run) -> str:
        return self.context["text"].input if self.context["text"] else ""

    def get_output(self, run: Run) -> str:
        return self.context["text"].output if self.context["text"] else ""

    def get_error(self, run: Run) -> str:
        return texts.error_message(run, self.context["text"])

    @extend_schema_field(LastAttemptSerializer(allow_null=True))
    def get_lastAttempt(self, run: Run) -> dict[str, Any] | None:  # noqa: N802 - the member's name
        """Return the last failed request to a provider; null without one."""
        return texts.last_attempt(run, self.context["text"])

    @extend_schema_field(StepSerializer(many=True))
    def get_steps(self, run: Run) -> list[dict[str, Any]]:
        """Return the steps of a chain that have ended."""
        return list(StepSerializer(self.context["steps"], many=True).data)
