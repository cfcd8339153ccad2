"""One's own runs."""

from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import GenericViewSet

from accounts.identity import user_of
from lunaos.api.pagination import NamedCursorPagination
from lunaos.api.schema import errors
from lunaos.errors import NotFound
from runs import services
from runs.models import Run
from runs.serializers import RunDetailSerializer, RunFilterSerializer, RunSerializer


class RunPagination(NamedCursorPagination):
    plural = "runs"
    ordering = ("-created_at", "-id")


class RunViewSet(GenericViewSet[Run]):
    """Runs of the one who asks; another user's run is 404."""

    serializer_class = RunSerializer
    pagination_class = RunPagination
    queryset = Run.objects.none()
    lookup_value_converter = "uuid"

    @extend_schema(operation_id="listRuns", parameters=[RunFilterSerializer], responses=RunSerializer(many=True))
    def list(self, request: Request) -> Response:
        """List runs, newest first."""
        filters = RunFilterSerializer(data=request.query_params.dict())
        filters.is_valid(raise_exception=True)
        wanted = {name: value for name, value in filters.validated_data.items() if name in ("agent", "status")}
        page = self.paginate_queryset(Run.objects.filter(user=user_of(request), **wanted))
        return self.get_paginated_response(RunSerializer(page, many=True).data)

    @extend_schema(operation_id="getRun", responses={200: RunDetailSerializer, **errors(NotFound)})
    def retrieve(self, request: Request, pk: UUID) -> Response:
        """Read one run with its input and output."""
        run, text = services.get(user=user_of(request), run_id=pk)
        return Response(RunDetailSerializer(run, context={"text": text}).data)
