"""Endpoints of agents and providers."""

from collections import Counter

from django.http.response import HttpResponseBase
from drf_spectacular.utils import extend_schema
from rest_framework.decorators import action
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.identity import idempotency_key_of, user_of
from agents import provider_keys, services
from agents.schema import EXECUTE, PROVIDERS, PUT_KEY, REMOVE_KEY
from agents.serializers import CatalogueSerializer, ExecuteSerializer, KeySerializer, ProviderListSerializer
from apikeys.authentication import key_of
from lunaos.api.request import get_api_request
from lunaos.api.views import ViewSet
from lunaos.scopes import AGENTS, CHAINS, KEYS
from runs.responses import execution_response, without_stream


class AgentViewSet(ViewSet):
    """Agents."""

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
        options = dict(serializer.validated_data)
        on_disconnect, stream = options.pop("onDisconnect"), options.pop("stream")
        execution = services.start_execution(
            user=user_of(request),
            request_id=get_api_request(request).id,
            started=get_api_request(request).started,
            idempotency_key=idempotency_key_of(request, without_stream(serializer.validated_data)),
            api_key=key_of(request),
            **options,
        )
        return execution_response(execution, on_disconnect=on_disconnect, stream=stream)


class ProviderViewSet(ViewSet):
    """Providers of language models, and users' keys for them."""

    bodiless = ("remove_key",)
    scopes = (AGENTS, CHAINS)
    lookup_url_kwarg = "name"
    lookup_value_converter = "str"

    @extend_schema(**PROVIDERS)
    def list(self, request: Request) -> Response:
        """List the providers with their models and your own keys."""
        return Response(ProviderListSerializer({"providers": provider_keys.list_providers(user_of(request))}).data)

    @extend_schema(**PUT_KEY)
    @action(detail=True, methods=["put"], scopes=(KEYS,))
    def key(self, request: Request, name: str) -> Response:
        """Use your own key for this provider instead of the server's.

        The key is stored encrypted and shown by its last four characters only. On the free tier, executions on an own
        key are not counted.
        """
        serializer = KeySerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        provider_keys.set_key(user=user_of(request), provider=name, **serializer.validated_data)
        return Response(provider_keys.describe_provider(user_of(request), name))

    @extend_schema(**REMOVE_KEY)
    @key.mapping.delete
    def remove_key(self, request: Request, name: str) -> Response:
        """Delete your own key. A run that uses the key fails at its next step."""
        provider_keys.remove_key(user=user_of(request), provider=name)
        return Response({"message": f"Your key for {name} is deleted."})
