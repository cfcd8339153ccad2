"""Sign-up, sign-in, and who am I."""

from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.decorators import action
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import GenericViewSet, ViewSet

from accounts import services, tokens
from accounts.errors import EmailTaken, InvalidCredentials
from accounts.identity import user_of
from accounts.models import AuditEvent, User
from accounts.serializers import (
    AccountSerializer,
    ActivitySerializer,
    LogInSerializer,
    SessionSerializer,
    SignUpSerializer,
)
from accounts.throttles import SignInThrottle
from lunaos.api.pagination import NamedCursorPagination
from lunaos.api.schema import errors
from lunaos.scopes import ANY, SESSION_ONLY


class AuthViewSet(ViewSet):
    """Accounts and their tokens."""

    scopes = SESSION_ONLY

    @extend_schema(
        operation_id="signUp",
        request=SignUpSerializer,
        responses={201: SessionSerializer, **errors(EmailTaken)},
        auth=[],
    )
    @action(detail=False, methods=["post"], authentication_classes=[], permission_classes=[AllowAny])
    def signup(self, request: Request) -> Response:
        """Make an account. The token works at once; a welcome mail goes out."""
        serializer = SignUpSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        user = services.sign_up(**serializer.validated_data)
        return Response(_session(user), status=status.HTTP_201_CREATED)

    @extend_schema(
        operation_id="logIn",
        request=LogInSerializer,
        responses={200: SessionSerializer, **errors(InvalidCredentials)},
        auth=[],
    )
    @action(detail=False, methods=["post"], authentication_classes=[], permission_classes=[AllowAny])
    def login(self, request: Request) -> Response:
        """Get a token for an address and a password."""
        serializer = LogInSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        return Response(_session(services.log_in(request=request._request, **serializer.validated_data)))

    @extend_schema(operation_id="getMe", responses={200: AccountSerializer})
    @action(detail=False, scopes=ANY)
    def me(self, request: Request) -> Response:
        """Tell who the credentials belong to."""
        return Response(AccountSerializer(user_of(request)).data)

    def get_throttles(self) -> list:
        extra = [SignInThrottle()] if self.action in ("signup", "login") else []
        return [*super().get_throttles(), *extra]


class ActivityPagination(NamedCursorPagination):
    plural = "events"
    ordering = ("-id",)


class ActivityViewSet(GenericViewSet[AuditEvent]):
    """What was done with one's own account."""

    scopes = SESSION_ONLY
    serializer_class = ActivitySerializer
    pagination_class = ActivityPagination
    queryset = AuditEvent.objects.none()

    @extend_schema(operation_id="listActivity", responses=ActivitySerializer(many=True))
    def list(self, request: Request) -> Response:
        """List what the audit trail holds about your account, newest first."""
        mine = AuditEvent.objects.filter(subject_id=user_of(request).pk).select_related("origin")
        return self.get_paginated_response(ActivitySerializer(self.paginate_queryset(mine), many=True).data)


def _session(user: User) -> dict[str, object]:
    return SessionSerializer({"token": tokens.issue(user), "user": user}).data
