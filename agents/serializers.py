"""Input and output of the agents' endpoints."""

from typing import Any

from rest_framework import serializers

from agents.models import Agent


class AgentSerializer(serializers.ModelSerializer[Agent]):
    class Meta:
        model = Agent
        fields = ("slug", "name", "role", "category", "tier")


class TierCountSerializer(serializers.Serializer[Any]):
    free = serializers.IntegerField()
    pro = serializers.IntegerField()


class CatalogueSerializer(serializers.Serializer[Any]):
    agents = AgentSerializer(many=True)
    total = serializers.IntegerField()
    tiers = TierCountSerializer()


class ExecuteSerializer(serializers.Serializer[Any]):
    agent = serializers.CharField(max_length=64)
    context = serializers.CharField(  # type: ignore[assignment]
        max_length=50_000, trim_whitespace=False, help_text="Code, question, document: what the agent works on."
    )
    provider = serializers.CharField(max_length=32, required=False, default=None)
    model = serializers.CharField(max_length=64, required=False, default=None)
