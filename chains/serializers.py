"""Input and output of the chains' endpoints."""

from typing import Any

from drf_spectacular.utils import extend_schema_serializer
from rest_framework import serializers

from chains.errors import ChainTooLong
from chains.models import MAX_STEPS
from lunaos.api.fields import BoundedListField
from lunaos.api.serializers import RequestSerializer
from runs.responses import ExecutionSerializer


class ChainSerializer(serializers.Serializer[Any]):
    id = serializers.CharField()
    name = serializers.CharField()
    description = serializers.CharField()
    steps = serializers.ListField(child=serializers.CharField(), help_text="Slugs of agents, in order.")
    tier = serializers.CharField(help_text="The highest tier of its agents.")


@extend_schema_serializer(many=False)  # an object that holds the list
class ChainListSerializer(serializers.Serializer[Any]):
    chains = ChainSerializer(many=True)


class StepInputSerializer(RequestSerializer):
    agent = serializers.CharField(max_length=64)

    def to_internal_value(self, data: Any) -> Any:
        """Take a slug alone for a step of that agent."""
        return super().to_internal_value({"agent": data} if isinstance(data, str) else data)


class StepsField(BoundedListField):
    """The steps of a chain; too many of them are an error with its own code."""

    def __init__(self, **options: Any) -> None:
        super().__init__(child=StepInputSerializer(), allow_empty=False, max_length=MAX_STEPS, **options)

    def refuse_length(self) -> None:
        raise ChainTooLong()


class ExecuteChainSerializer(ExecutionSerializer):
    chain = serializers.CharField(max_length=64, required=False, default=None, help_text="A preset's id.")
    steps = StepsField(required=False, default=None)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if (attrs["chain"] is None) == (attrs["steps"] is None):
            raise serializers.ValidationError({"steps": ["Send either steps or chain."]}, "either")
        return attrs
