"""Runs as their owner sees them."""

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from runs.models import Run, RunStep, Status


class RunFilterSerializer(serializers.Serializer[Any]):
    """The query of the list; a misspelt name is refused, not ignored."""

    agent = serializers.CharField(max_length=64, required=False)
    chain = serializers.CharField(max_length=64, required=False, help_text="A preset's id, or `custom`.")
    status = serializers.ChoiceField(Status.choices, required=False)
    limit = serializers.IntegerField(
        min_value=1, max_value=100, required=False, help_text="Runs a page, 20 by default."
    )
    cursor = serializers.CharField(required=False, help_text="`nextCursor` of the page before.")

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        if unknown := data.keys() - self.fields.keys():
            raise serializers.ValidationError({name: ["There is no such parameter."] for name in unknown}, "unknown")
        return super().to_internal_value(data)


class LastEventSerializer(serializers.Serializer[Any]):
    """The header of a reconnecting client (WHATWG HTML 9.2.4); the ids are positions."""

    def get_fields(self) -> dict[str, serializers.Field]:
        return {"Last-Event-ID": serializers.IntegerField(min_value=0, max_value=2**53)}


class RunSerializer(serializers.ModelSerializer[Run]):
    agent = serializers.CharField(help_text="Empty for a chain.")
    chain = serializers.CharField(help_text="The preset's id or `custom`; empty for an agent.")
    ownKey = serializers.BooleanField(source="own_key", help_text="On your own key for the provider.")
    errorCode = serializers.CharField(source="error_code", help_text="Empty unless the run failed.")
    inputTokens = serializers.IntegerField(source="input_tokens")
    outputTokens = serializers.IntegerField(source="output_tokens")
    costUsd = serializers.DecimalField(source="cost_usd", max_digits=12, decimal_places=6)
    durationMs = serializers.IntegerField(source="duration_ms", allow_null=True)
    firstTokenMs = serializers.IntegerField(source="first_token_ms", allow_null=True)
    createdAt = serializers.DateTimeField(source="created_at")
    finishedAt = serializers.DateTimeField(source="finished_at", allow_null=True)
    cancelRequestedAt = serializers.DateTimeField(source="cancel_requested_at", allow_null=True)

    class Meta:
        model = Run
        fields = (
            *("id", "agent", "chain", "provider", "model", "ownKey", "status", "errorCode"),
            *(
                "inputTokens",
                "outputTokens",
                "costUsd",
                "durationMs",
                "firstTokenMs",
                "createdAt",
                "finishedAt",
                "cancelRequestedAt",
            ),
        )


class StepSerializer(serializers.ModelSerializer[RunStep]):
    step = serializers.IntegerField(source="position", help_text="From 1.")
    errorCode = serializers.CharField(source="error_code", help_text="Empty unless the step failed.")
    inputTokens = serializers.IntegerField(source="input_tokens")
    outputTokens = serializers.IntegerField(source="output_tokens")
    costUsd = serializers.DecimalField(source="cost_usd", max_digits=12, decimal_places=6)
    durationMs = serializers.IntegerField(source="duration_ms")
    finishedAt = serializers.DateTimeField(source="finished_at")

    class Meta:
        model = RunStep
        fields = (
            *("step", "agent", "status", "errorCode", "provider", "model", "inputTokens", "outputTokens", "costUsd"),
            *("durationMs", "finishedAt", "output"),
        )


class RunDetailSerializer(RunSerializer):
    """With what went in and what came out; empty once the retention has passed."""

    input = serializers.SerializerMethodField()
    output = serializers.SerializerMethodField(help_text="Of a chain, the last step's.")
    steps = serializers.SerializerMethodField()

    class Meta(RunSerializer.Meta):
        fields = (*RunSerializer.Meta.fields, "input", "output", "steps")  # type: ignore[assignment]

    def get_input(self, run: Run) -> str:
        return self.context["text"].input if self.context["text"] else ""

    def get_output(self, run: Run) -> str:
        return self.context["text"].output if self.context["text"] else ""

    @extend_schema_field(StepSerializer(many=True))
    def get_steps(self, run: Run) -> list[dict[str, Any]]:
        """The steps of a chain that have ended."""
        return list(StepSerializer(self.context["steps"], many=True).data)
