"""Chains: the presets, one execution, and taking up a failed one."""

from uuid import UUID

from django.http.response import HttpResponseBase
from drf_spectacular.utils import extend_schema
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import ViewSet

from accounts.identity import idempotency_key_of, user_of
from chains import services
from chains.schema import EXECUTE, RESUME
from chains.serializers import ChainsSerializer, ExecuteChainSerializer
from lunaos.api.request import get_api_request
from lunaos.scopes import CHAINS
from runs.responses import execution_response


class ChainViewSet(ViewSet):
    """Several agents in a row."""

    scopes = (CHAINS,)

    @extend_schema(operation_id="listChains", responses={200: ChainsSerializer})
    def list(self, request: Request) -> Response:
        """List the presets."""
        return Response(ChainsSerializer({"chains": services.list_chains()}).data)

    @extend_schema(**EXECUTE)
    @action(detail=False, methods=["post"])
    def execute(self, request: Request) -> HttpResponseBase:
        """Send code through a chain of agents; each is given what those before it have said.

        A worker does the steps. The stream may break and be followed again at /runs/{id}/events.
        """
        serializer = ExecuteChainSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        wanted = dict(serializer.validated_data)
        on_disconnect, steps = wanted.pop("onDisconnect"), wanted.pop("steps")
        begun = services.start(
            user=user_of(request),
            steps=[step["agent"] for step in steps] if steps else None,
            request_id=get_api_request(request).id,
            started=get_api_request(request).started,
            idempotency_key=idempotency_key_of(request, serializer.validated_data),
            **wanted,
        )
        return execution_response(begun, on_disconnect=on_disconnect)


class ChainRunViewSet(ViewSet):
    """A chain's run."""

    scopes = (CHAINS,)

    lookup_value_converter = "uuid"

    @extend_schema(**RESUME)
    @action(detail=True, methods=["post"])
    def resume(self, request: Request, pk: UUID) -> HttpResponseBase:
        """Take a failed chain up again from the step that failed; the stream goes on where it ended."""
        begun, before = services.resume(user=user_of(request), run_id=pk)
        return execution_response(begun, after=before)
