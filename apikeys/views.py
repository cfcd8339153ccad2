"""One's own keys."""

from typing import Any
from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.decorators import action
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import ViewSet

from accounts.errors import IdempotencyConflict, OtpInvalid, OtpRequired
from accounts.identity import idempotency_key_of, otp_of, user_of
from accounts.signin import second_factor
from accounts.signin.throttles import SignInThrottle
from apikeys import services
from apikeys.errors import KeyLimitReached, KeyNotFound
from apikeys.models import ApiKey
from apikeys.serializers import (
    CreatedKeySerializer,
    KeysSerializer,
    LeakedKeySerializer,
    NewKeySerializer,
)
from lunaos.api.schema import IDEMPOTENCY_KEY, IDEMPOTENCY_REPLAYED, OTP, errors
from lunaos.api.serializers import MessageSerializer
from lunaos.scopes import KEYS


class ApiKeyViewSet(ViewSet):
    """Keys for programs: they open what their scopes say until they are revoked or expire."""

    scopes = (KEYS,)
    lookup_value_converter = "uuid"

    @extend_schema(operation_id="listKeys", responses={200: KeysSerializer})
    def list(self, request: Request) -> Response:
        """List active keys, newest first. The keys themselves are not kept."""
        return Response(KeysSerializer({"keys": services.active(user_of(request))}).data)

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
        """Make a key. It is shown this once.

        An account with a second factor needs a fresh code for each request with a token, a repeated one included.
        """
        serializer = NewKeySerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        wanted: dict[str, Any] = dict(serializer.validated_data)
        otp = otp_of(request, {"otp": wanted.pop("otp")})
        maker = request.auth if isinstance(request.auth, ApiKey) else None
        # With the maker in the digest, one key cannot read the secret that another key made.
        idempotency_key = idempotency_key_of(request, {**wanted, "maker": maker and str(maker.pk)})
        expires_at = wanted.pop("expiresAt")
        if maker is None:
            second_factor.require_of_session(user=user_of(request), code=otp)
        made = services.create(
            user=user_of(request), maker=maker, expires_at=expires_at, idempotency_key=idempotency_key, **wanted
        )
        headers = {"Idempotency-Replayed": "true"} if made.replayed else {}
        body = CreatedKeySerializer(made.key, context={"secret": made.secret}).data
        return Response(body, status=status.HTTP_201_CREATED, headers=headers)

    @extend_schema(operation_id="revokeKey", responses={200: MessageSerializer, **errors(KeyNotFound)})
    def destroy(self, request: Request, pk: UUID) -> Response:
        """Revoke a key. It opens nothing any more, from now on and everywhere."""
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
        """Report a key that you have found. No sign-in needed; it is revoked and its owner is told."""
        serializer = LeakedKeySerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        services.report_leaked(serializer.validated_data["key"])
        return Response({"message": "Thank you. If this was an active key, it is revoked and its owner is told."})

    def get_throttles(self) -> Any:
        extra = [SignInThrottle()] if self.action == "revoke_leaked" else []
        return [*super().get_throttles(), *extra]
