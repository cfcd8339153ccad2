"""Endpoints of chains: the presets, an execution, and the resumption of a failed one."""

from uuid import UUID

from django.http.response import HttpResponseBase
from drf_spectacular.utils import extend_schema
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.identity import idempotency_key_of, user_of
from apikeys.authentication import key_of
from chains import services
from chains.schema import EXECUTE, RESUME
from chains.serializers import ChainListSerializer, ExecuteChainSerializer
from lunaos.api.request import get_api_request
from lunaos.api.views import ViewSet
from lunaos.scopes import CHAINS
from runs.responses import execution_response, without_stream


class ChainViewSet(ViewSet):
    """Sequences of agents."""

    scopes = (CHAINS,)

    @extend_schema(operation_id="listChains", responses={200: ChainListSerializer})
    def list(self, request: Request) -> Response:
        """List the presets."""
        return Response(ChainListSerializer({"chains": services.list_chains()}).data)

    @extend_schema(**EXECUTE)
    @action(detail=False, methods=["post"])
    def execute(self, request: Request) -> HttpResponseBase:
        """Send code through a sequence of agents; each step gets the outputs of the steps before it.

        A worker executes the steps. If the stream breaks, follow the run at /runs/{id}/events.
        """
        serializer = ExecuteChainSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        values = dict(serializer.validated_data)
        on_disconnect, steps, stream = values.pop("onDisconnect"), values.pop("steps"), values.pop("stream")
        started_run = services.start(
            user=user_of(request),
            steps=[step["agent"] for step in steps] if steps else None,
            request_id=get_api_request(request).id,
            started=get_api_request(request).started,
            idempotency_key=idempotency_key_of(request, without_stream(serializer.validated_data)),
            api_key=key_of(request),
            **values,
        )
        return execution_response(started_run, on_disconnect=on_disconnect, stream=stream)


class ChainRunViewSet(ViewSet):
    """Runs of chains."""

    bodiless = ("resume",)
    scopes = (CHAINS,)

    lookup_value_converter = "uuid"

    @extend_schema(**RESUME)
    @action(detail=True, methods=["post"])
    def resume(self, request: Request, pk: UUID) -> HttpResponseBase:
        """Resume a failed chain from the step that failed; the stream continues where it ended."""
        started_run, before = services.resume(user=user_of(request), run_id=pk)
        return execution_response(started_run, after=before)
