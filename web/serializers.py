"""The health report, for the schema."""

from typing import Any

from rest_framework import serializers

STATUSES = ("ok", "degraded", "down")


class PartSerializer(serializers.Serializer[Any]):
    status = serializers.ChoiceField(STATUSES)
    latencyMs = serializers.FloatField()
    detail = serializers.CharField(required=False)


class PartsSerializer(serializers.Serializer[Any]):
    database = PartSerializer()
    cache = PartSerializer()
    queue = PartSerializer()
    vectors = PartSerializer()
    llm = PartSerializer()


class HealthSerializer(serializers.Serializer[Any]):
    status = serializers.ChoiceField(STATUSES[:2])
    version = serializers.CharField()
    timestamp = serializers.DateTimeField()
    services = PartsSerializer()
