"""Input and output of the agents' endpoints."""

from typing import Any

from rest_framework import serializers

from agents.models import Agent
from runs.responses import ExecutionSerializer


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


class ExecuteSerializer(ExecutionSerializer):
    agent = serializers.CharField(max_length=64)
