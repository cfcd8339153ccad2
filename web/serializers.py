"""Reports of health and readiness."""

from typing import Any

from rest_framework import serializers

STATUSES = ("ok", "degraded", "down")


class PartSerializer(serializers.Serializer[Any]):
    status = serializers.ChoiceField(STATUSES)
    latencyMs = serializers.FloatField()
    detail = serializers.CharField(required=False)


class IndexingSerializer(serializers.Serializer[Any]):
    backlog = serializers.IntegerField(help_text="Index jobs that have not ended.")
    bytes = serializers.IntegerField(help_text="Size of their files that are not indexed yet.")
    oldestWaitingS = serializers.FloatField(
        help_text="Longest wait in seconds of an owner without a started job; 0 without such an owner."
    )


class QueueSerializer(PartSerializer):
    backlog = serializers.IntegerField(required=False, help_text="Chains that wait for a worker.")
    oldestWaitingS = serializers.FloatField(required=False, help_text="Seconds that the oldest of them has waited.")
    indexing = IndexingSerializer(required=False)


class PartsSerializer(serializers.Serializer[Any]):
    database = PartSerializer()
    cache = PartSerializer()
    queue = QueueSerializer()
    beat = PartSerializer(help_text="Scheduler of periodic tasks, which end abandoned runs.")
    disk = PartSerializer(help_text="Disk of the platform's files; `degraded` if it is almost full.")
    vectors = PartSerializer()
    llm = PartSerializer()


class HealthSerializer(serializers.Serializer[Any]):
    status = serializers.ChoiceField(STATUSES[:2])
    version = serializers.CharField()
    timestamp = serializers.DateTimeField()
    services = PartsSerializer()


class ChecksSerializer(serializers.Serializer[Any]):
    database = serializers.CharField(help_text="`ok`, `down`, or the number of missing migrations.")
    cache = serializers.CharField()
    modules = serializers.CharField(help_text="Whether all modules for runs are loaded.")
    process = serializers.ChoiceField(("ok", "stopping"))


class ReadinessSerializer(serializers.Serializer[Any]):
    ready = serializers.BooleanField()
    checks = ChecksSerializer()
