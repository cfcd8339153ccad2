"""OpenAPI descriptions of the billing endpoints."""

from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter

from accounts.errors import IdempotencyConflict
from billing.errors import (
    AlreadySubscribed,
    BillingConflict,
    BillingNotConfigured,
    BillingUnavailable,
    CheckoutBlocked,
    NoSubscription,
    PaymentRefused,
    WebhookRefused,
)
from billing.serializers import (
    ChangedSerializer,
    CheckoutSerializer,
    PlanListSerializer,
    PortalSerializer,
    StandingSerializer,
    TierSerializer,
    UsageSerializer,
)
from lunaos.api.schema import IDEMPOTENCY_KEY, IDEMPOTENCY_REPLAYED, errors
from lunaos.api.serializers import MessageSerializer
from lunaos.errors import PayloadTooLarge

STRIPE = (BillingConflict, BillingNotConfigured, BillingUnavailable)
SIGNATURE = OpenApiParameter(
    "Stripe-Signature", OpenApiTypes.STR, OpenApiParameter.HEADER, description="`t=<Unix seconds>,v1=<HMAC-SHA256>`"
)
PLANS: dict[str, Any] = {"operation_id": "listPlans", "responses": {200: PlanListSerializer}, "auth": []}
USAGE: dict[str, Any] = {"operation_id": "getUsage", "responses": {200: UsageSerializer}}
SUBSCRIPTION: dict[str, Any] = {"operation_id": "getSubscription", "responses": {200: StandingSerializer}}
CHECKOUT: dict[str, Any] = {
    "operation_id": "startCheckout",
    "request": TierSerializer,
    "parameters": [IDEMPOTENCY_KEY, IDEMPOTENCY_REPLAYED],
    "responses": {200: CheckoutSerializer, **errors(AlreadySubscribed, CheckoutBlocked, *STRIPE, IdempotencyConflict)},
}
CHANGE: dict[str, Any] = {
    "operation_id": "changeSubscription",
    "request": TierSerializer,
    "responses": {
        200: ChangedSerializer,
        **errors(AlreadySubscribed, CheckoutBlocked, NoSubscription, PaymentRefused, *STRIPE),
    },
}
CANCEL: dict[str, Any] = {
    "operation_id": "cancelSubscription",
    "request": None,
    "responses": {200: MessageSerializer, **errors(NoSubscription, *STRIPE)},
}
RESUME: dict[str, Any] = {**CANCEL, "operation_id": "resumeSubscription"}
PORTAL: dict[str, Any] = {
    "operation_id": "openPortal",
    "request": None,
    "responses": {200: PortalSerializer, **errors(NoSubscription, *STRIPE)},
}
WEBHOOK: dict[str, Any] = {
    "operation_id": "receiveStripeEvent",
    "request": {"application/json": {"type": "object", "description": "An event, as Stripe signs it."}},
    "parameters": [SIGNATURE],
    "responses": {
        200: MessageSerializer,
        **errors(WebhookRefused, PayloadTooLarge, BillingNotConfigured, BillingUnavailable),
    },
    "auth": [],
}
