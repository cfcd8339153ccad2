"""The catalogue and one execution."""

from collections import Counter

from django.http.response import HttpResponseBase
from drf_spectacular.utils import extend_schema
from rest_framework.decorators import action
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import ViewSet

from accounts.identity import once_of, user_of
from agents import services
from agents.schema import EXECUTE
from agents.serializers import CatalogueSerializer, ExecuteSerializer
from lunaos.api.request import framed
from lunaos.scopes import AGENTS
from runs.responses import execution_response


class AgentViewSet(ViewSet):
    """The 28 experts."""

    scopes = (AGENTS,)

    @extend_schema(operation_id="listAgents", responses={200: CatalogueSerializer})
    @action(detail=False, url_path="list", permission_classes=[AllowAny])
    def catalogue(self, request: Request) -> Response:
        """List the agents. No sign-in needed."""
        agents = services.list_agents()
        tiers = Counter(agent.tier for agent in agents)
        return Response(CatalogueSerializer({"agents": agents, "total": len(agents), "tiers": tiers}).data)

    @extend_schema(**EXECUTE)
    @action(detail=False, methods=["post"])
    def execute(self, request: Request) -> HttpResponseBase:
        """Send code to an agent and watch the answer stream."""
        serializer = ExecuteSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        wanted = dict(serializer.validated_data)
        on_disconnect = wanted.pop("onDisconnect")
        begun = services.start_execution(
            user=user_of(request),
            request_id=framed(request).id,
            started=framed(request).started,
            once=once_of(request, serializer.validated_data),
            **wanted,
        )
        return execution_response(begun, on_disconnect=on_disconnect)
