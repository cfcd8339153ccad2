"""What one has used."""

from datetime import UTC, datetime

from drf_spectacular.utils import extend_schema
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import ViewSet

from accounts.identity import user_of
from billing import quota, tiers
from billing.serializers import UsageSerializer
from lunaos.scopes import BILLING_READ


class BillingViewSet(ViewSet):
    """Executions and what they cost."""

    scopes = (BILLING_READ,)

    @extend_schema(operation_id="getUsage", responses={200: UsageSerializer})
    @action(detail=False)
    def usage(self, request: Request) -> Response:
        """Tell how many of the month's executions are used."""
        user = user_of(request)
        usage = quota.current(user, datetime.now(UTC))
        return Response(UsageSerializer(usage, context={"tier": tiers.of(user.tier).name}).data)
