"""Endpoints of a user's own API keys."""

from typing import Any
from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.decorators import action
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.errors import IdempotencyConflict, OtpInvalid, OtpRequired
from accounts.identity import idempotency_key_of, otp_of, user_of
from accounts.signin import second_factor
from accounts.signin.throttles import SignInThrottle
from apikeys import services
from apikeys.authentication import key_of
from apikeys.errors import KeyLimitReached, KeyNotFound
from apikeys.serializers import (
    CreatedKeySerializer,
    KeyListSerializer,
    LeakedKeySerializer,
    NewKeySerializer,
)
from lunaos.api.schema import IDEMPOTENCY_KEY, IDEMPOTENCY_REPLAYED, OTP, errors
from lunaos.api.serializers import MessageSerializer
from lunaos.api.views import ViewSet
from lunaos.scopes import KEYS


class ApiKeyViewSet(ViewSet):
    """API keys for programs, with scopes; valid until they are revoked or expire."""

    bodiless = ("destroy",)
    scopes = (KEYS,)
    lookup_value_converter = "uuid"

    @extend_schema(operation_id="listKeys", responses={200: KeyListSerializer})
    def list(self, request: Request) -> Response:
        """List active keys, newest first, without the secrets, which are not stored."""
        return Response(KeyListSerializer({"keys": services.active_keys(user_of(request))}).data)

    @extend_schema(
        operation_id="createKey",
        request=NewKeySerializer,
        parameters=[IDEMPOTENCY_KEY, OTP, IDEMPOTENCY_REPLAYED],
        responses={
            201: CreatedKeySerializer,
            **errors(KeyLimitReached, IdempotencyConflict, OtpRequired, OtpInvalid),
        },
    )
    def create(self, request: Request) -> Response:
        """Create a key. The secret is shown only in this answer.

        An account with a second factor needs a new code for each request with a session token, also for a repeated one.
        """
        serializer = NewKeySerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        fields: dict[str, Any] = dict(serializer.validated_data)
        otp = otp_of(request, {"otp": fields.pop("otp")})
        parent = key_of(request)
        # With the maker in the digest, one key cannot read the secret that another key made.
        idempotency_key = idempotency_key_of(request, {**fields, "maker": parent and str(parent.pk)})
        expires_at = fields.pop("expiresAt")
        if parent is None:
            second_factor.require_for_session(user=user_of(request), code=otp)
        created = services.create(
            user=user_of(request), parent=parent, expires_at=expires_at, idempotency_key=idempotency_key, **fields
        )
        headers = {"Idempotency-Replayed": "true"} if created.replayed else {}
        body = CreatedKeySerializer(created.key, context={"secret": created.secret}).data
        return Response(body, status=status.HTTP_201_CREATED, headers=headers)

    @extend_schema(operation_id="revokeKey", responses={200: MessageSerializer, **errors(KeyNotFound)})
    def destroy(self, request: Request, pk: UUID) -> Response:
        """Revoke a key. It is refused everywhere from now on."""
        services.revoke(user=user_of(request), key_id=pk)
        return Response({"message": "The key is revoked."})

    @extend_schema(
        operation_id="reportLeakedKey", request=LeakedKeySerializer, responses={200: MessageSerializer}, auth=[]
    )
    @action(
        detail=False,
        methods=["post"],
        url_path="revoke-leaked",
        authentication_classes=[],
        permission_classes=[AllowAny],
    )
    def revoke_leaked(self, request: Request) -> Response:
        """Report a leaked key. No sign-in is needed; the key is revoked and its owner is notified."""
        serializer = LeakedKeySerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        services.report_leaked(serializer.validated_data["key"])
        return Response({"message": "Thank you. If this was an active key, it is revoked and its owner is notified."})

    def get_throttles(self) -> Any:
        extra = [SignInThrottle()] if self.action == "revoke_leaked" else []
        return [*super().get_throttles(), *extra]
