"""Runs as their owner sees them."""

from typing import Any

from rest_framework import serializers

from runs.models import Run, Status


class RunFilterSerializer(serializers.Serializer[Any]):
    """The query of the list; a misspelt name is refused, not ignored."""

    agent = serializers.CharField(max_length=64, required=False)
    status = serializers.ChoiceField(Status.choices, required=False)
    limit = serializers.IntegerField(
        min_value=1, max_value=100, required=False, help_text="Runs a page, 20 by default."
    )
    cursor = serializers.CharField(required=False, help_text="`nextCursor` of the page before.")

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        if unknown := data.keys() - self.fields.keys():
            raise serializers.ValidationError({name: ["There is no such parameter."] for name in unknown}, "unknown")
        return super().to_internal_value(data)


class RunSerializer(serializers.ModelSerializer[Run]):
    errorCode = serializers.CharField(source="error_code", help_text="Empty unless the run failed.")
    inputTokens = serializers.IntegerField(source="input_tokens")
    outputTokens = serializers.IntegerField(source="output_tokens")
    costUsd = serializers.DecimalField(source="cost_usd", max_digits=12, decimal_places=6)
    durationMs = serializers.IntegerField(source="duration_ms", allow_null=True)
    firstTokenMs = serializers.IntegerField(source="first_token_ms", allow_null=True)
    createdAt = serializers.DateTimeField(source="created_at")
    finishedAt = serializers.DateTimeField(source="finished_at", allow_null=True)

    class Meta:
        model = Run
        fields = (
            *("id", "agent", "provider", "model", "status", "errorCode", "inputTokens", "outputTokens", "costUsd"),
            *("durationMs", "firstTokenMs", "createdAt", "finishedAt"),
        )


class RunDetailSerializer(RunSerializer):
    """With what went in and what came out; both empty once the retention has passed."""

    input = serializers.SerializerMethodField()
    output = serializers.SerializerMethodField()

    class Meta(RunSerializer.Meta):
        fields = (*RunSerializer.Meta.fields, "input", "output")  # type: ignore[assignment]

    def get_input(self, run: Run) -> str:
        return self.context["text"].input if self.context["text"] else ""

    def get_output(self, run: Run) -> str:
        return self.context["text"].output if self.context["text"] else ""
