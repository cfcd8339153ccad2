"""Endpoints of plans, subscriptions, usage and Stripe's webhook."""

from datetime import UTC, datetime

from drf_spectacular.utils import extend_schema
from rest_framework.decorators import action
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.identity import idempotency_key_of, user_of
from billing import quota, schema, tiers
from billing.payments import checkout as checkout_pages
from billing.payments import plans, stripe_connection, subscription_state, subscriptions, webhooks
from billing.serializers import (
    CheckoutSerializer,
    PlanListSerializer,
    StandingSerializer,
    TierSerializer,
    UsageSerializer,
)
from billing.throttles import Unthrottled
from lunaos.api.bodies import STRIPE_SIGNATURE
from lunaos.api.views import ViewSet
from lunaos.errors import PayloadTooLarge
from lunaos.infra import thread_pools
from lunaos.infra.thread_pools import STRIPE
from lunaos.scopes import BILLING_READ, SESSION_ONLY


class BillingViewSet(ViewSet):
    """Plans, usage and the subscription. API keys may only read."""

    bodiless = ("cancel", "resume", "portal")
    scopes = SESSION_ONLY
    pool = thread_pools.SHARED

    @extend_schema(**schema.PLANS)
    @action(detail=False, authentication_classes=[], permission_classes=[AllowAny])
    def plans(self, request: Request) -> Response:
        """List the tiers with their prices and limits."""
        on_sale = {tier.name for tier in plans.list_tiers_on_sale()} if stripe_connection.is_configured() else set()
        return Response(PlanListSerializer({"plans": tiers.list_all()}, context={"on_sale": on_sale}).data)

    @extend_schema(**schema.USAGE)
    @action(detail=False, scopes=(BILLING_READ,))
    def usage(self, request: Request) -> Response:
        """Return how many of the month's executions are used."""
        user = user_of(request)
        usage = quota.current_usage(user, datetime.now(UTC))
        return Response(UsageSerializer(usage, context={"tier": tiers.get(user.tier).name}).data)

    @extend_schema(**schema.SUBSCRIPTION)
    @action(detail=False, scopes=(BILLING_READ,))
    def subscription(self, request: Request) -> Response:
        """Return the tier and the subscription, as Stripe reported them last."""
        return Response(StandingSerializer(subscription_state.get_state(user_of(request))).data)

    @extend_schema(**schema.CHECKOUT)
    @action(detail=False, methods=["post"], pool=STRIPE)
    def checkout(self, request: Request) -> Response:
        """Get the address of a page at Stripe on which to subscribe.

        The tier changes when Stripe has received the payment.
        """
        serializer = TierSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        idempotency_key = idempotency_key_of(request, serializer.validated_data)
        page = checkout_pages.start(user=user_of(request), idempotency_key=idempotency_key, **serializer.validated_data)
        headers = {"Idempotency-Replayed": "true"} if page.replayed else {}
        return Response(CheckoutSerializer(page).data, headers=headers)

    @extend_schema(**schema.CHANGE)
    @action(detail=False, methods=["post"], pool=STRIPE)
    def change(self, request: Request) -> Response:
        """Change the tier: a higher one at once, a lower one at the period's end.

        The difference to a higher tier is charged at once.
        """
        serializer = TierSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        changed = subscriptions.change(user=user_of(request), **serializer.validated_data)
        return Response({"message": changed.message, "tier": changed.tier, "effectiveAt": changed.effective_at})

    @extend_schema(**schema.CANCEL)
    @action(detail=False, methods=["post"], pool=STRIPE)
    def cancel(self, request: Request) -> Response:
        """Cancel the subscription at the end of its period.

        The tier stays until then if the period is paid.
        """
        return Response({"message": subscriptions.cancel(user_of(request)).message})

    @extend_schema(**schema.RESUME)
    @action(detail=False, methods=["post"], pool=STRIPE)
    def resume(self, request: Request) -> Response:
        """Resume a subscription that is set to end."""
        subscriptions.resume(user_of(request))
        return Response({"message": "The subscription continues."})

    @extend_schema(**schema.PORTAL)
    @action(detail=False, methods=["post"], pool=STRIPE)
    def portal(self, request: Request) -> Response:
        """Get the address of Stripe's page for cards, invoices and the subscription.

        The address is valid for some minutes.
        """
        return Response({"portalUrl": subscriptions.open_portal(user_of(request))})


class WebhookView(APIView):
    """Receives Stripe's events, which the signature authenticates."""

    authentication_classes = ()
    permission_classes = (AllowAny,)
    throttle_classes = (Unthrottled,)
    pool = thread_pools.WEBHOOK
    max_body_bytes = webhooks.MAX_BODY_BYTES
    credential = STRIPE_SIGNATURE

    @extend_schema(**schema.WEBHOOK)
    def post(self, request: Request) -> Response:
        """Receive an event from Stripe.

        Stripe repeats the event after any answer but 200.
        """
        payload = request._request.read(self.max_body_bytes + 1)
        if len(payload) > self.max_body_bytes:
            raise PayloadTooLarge(f"The body exceeds the limit of {self.max_body_bytes} bytes.")
        webhooks.handle(webhooks.parse(payload, request.headers.get("Stripe-Signature", "")))
        return Response({"message": "The event was received."})
