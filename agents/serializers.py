"""Input and output of the agents' endpoints."""

from typing import Any

from drf_spectacular.utils import extend_schema_serializer
from rest_framework import serializers

from agents.models import Agent
from lunaos.api.serializers import RequestSerializer
from runs.responses import ExecutionSerializer


class AgentSerializer(serializers.ModelSerializer[Agent]):
    class Meta:
        model = Agent
        fields = ("slug", "name", "role", "category", "tier")


class TierCountSerializer(serializers.Serializer[Any]):
    # The contract promises these two; a tier that staff have added follows as a further member where agents require it.
    free = serializers.IntegerField()
    pro = serializers.IntegerField()

    def to_representation(self, instance: Any) -> dict[str, Any]:
        return {**super().to_representation(instance), **instance}


class CatalogueSerializer(serializers.Serializer[Any]):
    agents = AgentSerializer(many=True)
    total = serializers.IntegerField()
    tiers = TierCountSerializer()


class ExecuteSerializer(ExecutionSerializer):
    agent = serializers.CharField(max_length=64)


class OwnKeySerializer(serializers.Serializer[Any]):
    lastFour = serializers.CharField()
    since = serializers.DateTimeField()


class ProviderSerializer(serializers.Serializer[Any]):
    name = serializers.CharField()
    configured = serializers.BooleanField(help_text="Whether the provider can be used without a key of your own.")
    default = serializers.BooleanField(help_text="Whether requests without `provider` and `model` go to this provider.")
    models = serializers.ListField(child=serializers.CharField(), help_text="The default first.")
    takesOwnKeys = serializers.BooleanField()
    ownKey = OwnKeySerializer(allow_null=True, help_text="Your own key; null without one.")


@extend_schema_serializer(many=False)  # an object that holds the list
class ProviderListSerializer(serializers.Serializer[Any]):
    providers = ProviderSerializer(many=True)


class KeySerializer(RequestSerializer):
    key = serializers.RegexField(
        r"^[!-~]*\Z",
        min_length=8,
        max_length=256,
        trim_whitespace=False,
        error_messages={"invalid": "Send printable ASCII characters without spaces."},
        help_text="As the provider issued it; stored encrypted and never shown again.",
    )
