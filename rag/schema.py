"""OpenAPI descriptions of code search."""

from typing import Any

from drf_spectacular.helpers import forced_singular_serializer
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, OpenApiResponse, PolymorphicProxySerializer
from rest_framework import serializers

from lunaos.api.schema import errors
from lunaos.api.serializers import MessageSerializer
from lunaos.errors import NotFound
from rag.errors import (
    BacklogFull,
    EmbeddingsFailed,
    EmbeddingsNotConfigured,
    EmbeddingsUnavailable,
    IndexingInterrupted,
    ReindexRequired,
    StorageLimitReached,
    UnknownRepository,
)
from rag.serializers import (
    FoundSerializer,
    IndexedSerializer,
    IndexSerializer,
    JobSerializer,
    PageSerializer,
    RepositoryListSerializer,
    SearchSerializer,
    SkippedSerializer,
)

SEARCH_ERRORS = (UnknownRepository, ReindexRequired, EmbeddingsNotConfigured, EmbeddingsUnavailable, EmbeddingsFailed)


class ProgressEventSerializer(serializers.Serializer[Any]):
    type = serializers.ChoiceField(["progress"])
    files = serializers.IntegerField()
    filesDone = serializers.IntegerField(help_text="Unchanged and skipped files included.")
    unchanged = serializers.IntegerField()
    chunks = serializers.IntegerField()
    filesPerSecond = serializers.FloatField()
    skipped = SkippedSerializer(many=True)
    skippedFiles = serializers.IntegerField()


class IndexDoneEventSerializer(ProgressEventSerializer):
    type = serializers.ChoiceField(["done"])


class IndexErrorEventSerializer(serializers.Serializer[Any]):
    type = serializers.ChoiceField(["error"])
    error = serializers.CharField()
    code = serializers.CharField()
    retryAfter = serializers.IntegerField(required=False, help_text="Seconds to wait before a retry.")


JOB_EVENT = PolymorphicProxySerializer(
    component_name="IndexEvent",
    serializers={
        "progress": ProgressEventSerializer,
        "done": IndexDoneEventSerializer,
        "error": IndexErrorEventSerializer,
    },
    resource_type_field_name="type",
)
INDEX: dict[str, Any] = {
    "operation_id": "indexFiles",
    "request": IndexSerializer,
    "examples": [
        OpenApiExample(
            "One file",
            value={"repository": "acme/api", "files": [{"path": "src/app.py", "content": "def add(a, b): …"}]},
            request_only=True,
        )
    ],
    "responses": {
        200: IndexedSerializer,
        202: OpenApiResponse(JobSerializer, description="The job takes longer; follow it at `Location`."),
        **errors(
            *(ReindexRequired, EmbeddingsNotConfigured, EmbeddingsUnavailable, EmbeddingsFailed),
            *(IndexingInterrupted, UnknownRepository, StorageLimitReached, BacklogFull),
        ),
    },
}
SEARCH: dict[str, Any] = {
    "operation_id": "searchCode",
    "request": SearchSerializer,
    "examples": [
        OpenApiExample("A question", value={"query": "where are passwords checked?", "limit": 5}, request_only=True)
    ],
    "responses": {200: FoundSerializer, **errors(*SEARCH_ERRORS)},
}
LIST: dict[str, Any] = {
    "operation_id": "listRepositories",
    "parameters": [PageSerializer],
    "responses": {200: forced_singular_serializer(RepositoryListSerializer)},  # type: ignore[no-untyped-call]
}
DELETE: dict[str, Any] = {
    "operation_id": "deleteRepository",
    "parameters": [
        OpenApiParameter("name", str, OpenApiParameter.PATH, description="May contain slashes, encoded or not.")
    ],
    "responses": {200: MessageSerializer, **errors(UnknownRepository)},
}
JOB: dict[str, Any] = {"operation_id": "getIndexJob", "responses": {200: JobSerializer, **errors(NotFound)}}
JOB_EVENTS: dict[str, Any] = {
    "operation_id": "followIndexJob",
    "parameters": [
        OpenApiParameter(
            "Last-Event-ID",
            int,
            location=OpenApiParameter.HEADER,
            description="`id` of the last event received; an EventSource sends it automatically.",
        )
    ],
    "responses": {
        (200, "text/event-stream"): OpenApiResponse(
            JOB_EVENT, description="One event after each change of the job, and comment lines as heartbeat."
        ),
        204: OpenApiResponse(description="The job has ended and you have received its last event."),
        **errors(NotFound, UnknownRepository),
    },
}
