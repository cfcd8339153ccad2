"""Output of the billing endpoints."""

from typing import Any

from rest_framework import serializers

from billing.quota import Usage


class PeriodSerializer(serializers.Serializer[Usage]):
    start = serializers.DateTimeField()
    end = serializers.DateTimeField(help_text="The first moment that does not belong to it.")


class BreakdownSerializer(serializers.Serializer[Usage]):
    agentExecutions = serializers.IntegerField(source="agents")
    chainExecutions = serializers.IntegerField(source="chains")


class UsageSerializer(serializers.Serializer[Usage]):
    tier = serializers.SerializerMethodField()
    used = serializers.IntegerField()
    limit = serializers.IntegerField()
    remaining = serializers.IntegerField()
    percentUsed = serializers.IntegerField(source="percent")
    period = PeriodSerializer(source="*")
    breakdown = BreakdownSerializer(source="*")
    warning = serializers.CharField(required=False, help_text="From 80 % on.")

    def get_tier(self, usage: Usage) -> str:
        return str(self.context["tier"])

    def to_representation(self, instance: Usage) -> dict[str, Any]:
        shown = super().to_representation(instance)
        return {name: value for name, value in shown.items() if value is not None}
