"""Endpoints of code search: indexing, search, repositories and jobs."""

from functools import partial
from typing import ClassVar
from uuid import UUID

from django.conf import settings
from django.http.response import HttpResponseBase
from drf_spectacular.utils import extend_schema
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.identity import user_of
from lunaos.api.pagination import NamedCursorPagination
from lunaos.api.serializers import MessageSerializer
from lunaos.api.streaming.sse import EventStreamResponse
from lunaos.api.views import GenericViewSet, ViewSet
from lunaos.scopes import RAG
from rag import schema, services
from rag.indexing.progress import JobEventReader
from rag.models import Repository
from rag.responses import JobResponse
from rag.serializers import (
    MAX_REPOSITORIES_PER_PAGE,
    FoundSerializer,
    IndexSerializer,
    JobSerializer,
    LastChangeSerializer,
    PageSerializer,
    RepositorySerializer,
    SearchSerializer,
    StorageSerializer,
)


class RagViewSet(ViewSet):
    """Indexing and search."""

    scopes = (RAG,)
    max_body_bytes = settings.MAX_BODY_BYTES

    @extend_schema(**schema.INDEX)
    @action(detail=False, methods=["post"], max_body_bytes=settings.RAG_MAX_BODY_BYTES)
    def index(self, request: Request) -> HttpResponseBase:
        """Index new and changed files; unchanged files cost nothing.

        The response comes when the files can be found, or after 30 seconds as 202 with the job.
        """
        serializer = IndexSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        return JobResponse(services.index_files(user=user_of(request), **serializer.validated_data))

    @extend_schema(**schema.SEARCH)
    @action(detail=False, methods=["post"])
    def search(self, request: Request) -> Response:
        """Find code by a question in plain words or by names, best first."""
        serializer = SearchSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        hits = services.search_code(user=user_of(request), **serializer.validated_data)
        query = serializer.validated_data["query"]
        return Response(FoundSerializer({"results": hits, "query": query, "total": len(hits)}).data)


class RepositoryPagination(NamedCursorPagination):
    plural = "repositories"
    ordering = ("name",)
    page_size = max_page_size = MAX_REPOSITORIES_PER_PAGE


class RepositoryViewSet(GenericViewSet[Repository]):
    """The user's repositories."""

    bodiless = ("destroy",)
    query_serializers: ClassVar = {"list": PageSerializer}
    scopes = (RAG,)

    serializer_class = RepositorySerializer
    pagination_class = RepositoryPagination
    queryset = Repository.objects.none()

    lookup_url_kwarg = "name"
    lookup_value_converter = "path"

    @extend_schema(**schema.LIST)
    def list(self, request: Request) -> Response:
        """List your repositories by name, with your storage and its limits."""
        user, query = user_of(request), PageSerializer(data=request.query_params.dict())
        query.is_valid(raise_exception=True)
        page = self.paginate_queryset(Repository.objects.filter(user=user)) or []
        response = self.get_paginated_response(RepositorySerializer(services.summarize(page), many=True).data)
        response.data["storage"] = StorageSerializer(services.storage_usage(user)).data
        return response

    @extend_schema(**schema.DELETE)
    def destroy(self, request: Request, name: str) -> Response:
        """Delete a repository with its index."""
        services.delete_repository(user=user_of(request), repository=name)
        return Response(MessageSerializer({"message": f"The repository {name!r} is deleted."}).data)


class IndexJobViewSet(ViewSet):
    """Index jobs of the user's repositories; another user's job is 404."""

    scopes = (RAG,)

    lookup_value_converter = "uuid"

    @extend_schema(**schema.JOB)
    def retrieve(self, request: Request, pk: UUID) -> Response:
        """Read the progress or the outcome of an index job."""
        return Response(JobSerializer(services.get_job(user=user_of(request), job_id=pk)).data)

    @extend_schema(**schema.JOB_EVENTS)
    @action(detail=True)
    def events(self, request: Request, pk: UUID) -> HttpResponseBase:
        """Stream an index job's events until it ends; 204 if you have received its last event."""
        last = LastChangeSerializer(data={"Last-Event-ID": request.headers.get("Last-Event-ID", "-1")})
        last.is_valid(raise_exception=True)
        job = services.get_job(user=user_of(request), job_id=pk)
        return EventStreamResponse(partial(JobEventReader, job.pk, last.validated_data["Last-Event-ID"]), {})
