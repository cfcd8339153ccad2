"""Output of the billing endpoints."""

from datetime import UTC, date, datetime
from typing import Any

from rest_framework import serializers

from billing.quota import Usage


class PeriodSerializer(serializers.Serializer[Any]):
    start = serializers.DateTimeField()
    end = serializers.DateTimeField(help_text="The first moment that does not belong to it.")


class BreakdownSerializer(serializers.Serializer[Any]):
    agentExecutions = serializers.IntegerField()
    chainExecutions = serializers.IntegerField()


class UsageSerializer(serializers.Serializer[Usage]):
    tier = serializers.CharField()
    used = serializers.IntegerField()
    limit = serializers.IntegerField()
    remaining = serializers.IntegerField()
    percentUsed = serializers.IntegerField(source="percent")
    period = PeriodSerializer()
    breakdown = BreakdownSerializer()
    warning = serializers.CharField(required=False, help_text="From 80 % on.")

    def to_representation(self, instance: Usage) -> dict[str, Any]:
        return {
            "tier": self.context["tier"],
            "used": instance.used,
            "limit": instance.limit,
            "remaining": instance.remaining,
            "percentUsed": instance.percent,
            "period": {"start": _midnight(instance.month), "end": _midnight(_next(instance.month))},
            "breakdown": {"agentExecutions": instance.used - instance.chains, "chainExecutions": instance.chains},
            **({"warning": instance.warning} if instance.warning else {}),
        }


def _next(month: date) -> date:
    return date(month.year + month.month // 12, month.month % 12 + 1, 1)


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)
