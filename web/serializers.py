"""The reports of health and readiness, for the schema."""

from typing import Any

from rest_framework import serializers

STATUSES = ("ok", "degraded", "down")


class PartSerializer(serializers.Serializer[Any]):
    status = serializers.ChoiceField(STATUSES)
    latencyMs = serializers.FloatField()
    detail = serializers.CharField(required=False)


class IndexingSerializer(serializers.Serializer[Any]):
    backlog = serializers.IntegerField(help_text="Index jobs that have not ended.")
    bytes = serializers.IntegerField(help_text="Of their files that are still to be done.")
    oldestWaitingS = serializers.FloatField(
        help_text="Seconds that the owner has waited of whose jobs no worker has begun any; 0 where there is none."
    )


class QueueSerializer(PartSerializer):
    backlog = serializers.IntegerField(required=False, help_text="Chains that wait for a worker.")
    oldestWaitingS = serializers.FloatField(required=False, help_text="Seconds that the oldest of them has waited.")
    indexing = IndexingSerializer(required=False)


class PartsSerializer(serializers.Serializer[Any]):
    database = PartSerializer()
    cache = PartSerializer()
    queue = QueueSerializer()
    beat = PartSerializer(help_text="The clock of periodic tasks, which end runs that nobody executes any more.")
    disk = PartSerializer(help_text="Of the platform's own files; `degraded` where little is left.")
    vectors = PartSerializer()
    llm = PartSerializer()


class HealthSerializer(serializers.Serializer[Any]):
    status = serializers.ChoiceField(STATUSES[:2])
    version = serializers.CharField()
    timestamp = serializers.DateTimeField()
    services = PartsSerializer()


class ChecksSerializer(serializers.Serializer[Any]):
    database = serializers.CharField(help_text="`ok`, `down`, or how many migrations are missing.")
    cache = serializers.CharField()
    modules = serializers.CharField(help_text="Whether all that a run needs is loaded.")
    process = serializers.ChoiceField(("ok", "stopping"))


class ReadinessSerializer(serializers.Serializer[Any]):
    ready = serializers.BooleanField()
    checks = ChecksSerializer()
