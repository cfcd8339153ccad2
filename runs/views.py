"""Endpoints of a user's own runs."""

from datetime import UTC, datetime
from functools import partial
from typing import ClassVar
from uuid import UUID

from django.http.response import HttpResponseBase
from drf_spectacular.utils import extend_schema
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.identity import user_of
from apikeys import services as key_services
from apikeys.errors import KeyNotFound
from lunaos.api.pagination import NamedCursorPagination
from lunaos.api.schema import errors
from lunaos.api.streaming.sse import EventStreamResponse
from lunaos.api.views import GenericViewSet, ViewSet
from lunaos.errors import NotFound
from lunaos.scopes import AGENTS, BILLING_READ, CHAINS, KEYS
from runs import chain_steps, services, texts
from runs.eventlog import follower
from runs.metering import key_usage
from runs.models import Run
from runs.schema import FOLLOW_RUN
from runs.serializers import (
    KeyUsageSerializer,
    LastEventSerializer,
    RunDetailSerializer,
    RunFilterSerializer,
    RunSerializer,
)

RUN_FILTERS = {"agent": "agent", "chain": "chain", "status": "status", "apiKey": "api_key_id"}  # to columns


class RunPagination(NamedCursorPagination):
    plural = "runs"
    ordering = ("-created_at", "-id")


class RunViewSet(GenericViewSet[Run]):
    """Runs of the authenticated user; another user's run is 404."""

    bodiless = ("cancel",)
    query_serializers: ClassVar = {"list": RunFilterSerializer}
    scopes = (AGENTS, CHAINS)

    serializer_class = RunSerializer
    pagination_class = RunPagination
    queryset = Run.objects.none()
    lookup_value_converter = "uuid"

    @extend_schema(operation_id="listRuns", parameters=[RunFilterSerializer], responses=RunSerializer(many=True))
    def list(self, request: Request) -> Response:
        """List runs, newest first."""
        filters = RunFilterSerializer(data=request.query_params.dict())
        filters.is_valid(raise_exception=True)
        criteria = {
            column: filters.validated_data[name]
            for name, column in RUN_FILTERS.items()
            if name in filters.validated_data
        }
        page = self.paginate_queryset(Run.objects.filter(user=user_of(request), **criteria))
        return self.get_paginated_response(RunSerializer(page, many=True).data)

    @extend_schema(operation_id="getRun", responses={200: RunDetailSerializer, **errors(NotFound)})
    def retrieve(self, request: Request, pk: UUID) -> Response:
        """Return one run with its input and output."""
        run = services.get(user=user_of(request), run_id=pk)
        content = {"text": texts.load_text(run), "steps": chain_steps.load(run) if run.chain else []}
        return Response(RunDetailSerializer(run, context=content).data)

    @extend_schema(**FOLLOW_RUN)
    @action(detail=True)
    def events(self, request: Request, pk: UUID) -> HttpResponseBase:
        """Follow a run from its start, or from the position at which a connection broke.

        A run that has ended is replayed. 204: the run has ended, and you have all its events.
        """
        last = LastEventSerializer(data={"Last-Event-ID": request.headers.get("Last-Event-ID", "0")})
        last.is_valid(raise_exception=True)
        run = services.get(user=user_of(request), run_id=pk)
        reader = partial(follower.RunFollower, run, last.validated_data["Last-Event-ID"])
        return EventStreamResponse(reader, {"X-Run-Id": str(run.pk)})

    @extend_schema(operation_id="cancelRun", request=None, responses={200: RunSerializer, **errors(NotFound)})
    @action(detail=True, methods=["post"])
    def cancel(self, request: Request, pk: UUID) -> Response:
        """End a run within a second; its output so far is kept. A run that has ended stays as it is.

        The execution counts if the run showed text, or if a provider had been asked.
        """
        run = services.get(user=user_of(request), run_id=pk)
        return Response(RunSerializer(services.cancel(run)).data)


class KeyUsageViewSet(ViewSet):
    """What the runs of an API key have used."""

    scopes = (KEYS, BILLING_READ)
    lookup_value_converter = "uuid"

    @extend_schema(operation_id="getKeyUsage", responses={200: KeyUsageSerializer, **errors(KeyNotFound)})
    @action(detail=True)
    def usage(self, request: Request, pk: UUID) -> Response:
        """Return runs, tokens and cost of one key in this month, also of a key that was revoked."""
        key = key_services.get(user=user_of(request), key_id=pk)
        return Response(KeyUsageSerializer(key_usage.of_month(key.pk, datetime.now(UTC))).data)
