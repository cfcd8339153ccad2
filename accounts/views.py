"""Accounts: signing up and in, sessions, passwords, confirmed addresses, and one's own data."""

from collections.abc import Sequence
from typing import Any

from django.http.response import HttpResponseBase
from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.decorators import action
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import GenericViewSet, ViewSet

from accounts import schema, services
from accounts.auditlog import trail
from accounts.auditlog.trail import Action
from accounts.identity import credential_of, otp_of, user_of
from accounts.models import AuditEvent, User
from accounts.privacy import deletion, registry
from accounts.privacy import export as account_export
from accounts.serializers import (
    AccountSerializer,
    ActivitySerializer,
    ChangePasswordSerializer,
    EmailSerializer,
    LogInSerializer,
    MailTokenSerializer,
    PasswordSerializer,
    ResetPasswordSerializer,
    SessionSerializer,
    SignUpSerializer,
)
from accounts.signin import jwt, passwords, sessions, verification
from accounts.signin.throttles import SignInThrottle, count_sign_up
from lunaos.api import download
from lunaos.api.pagination import NamedCursorPagination
from lunaos.api.request import get_api_request
from lunaos.api.serializers import MessageSerializer
from lunaos.infra import thread_pools
from lunaos.infra.thread_pools import HASHING
from lunaos.scopes import ANY, SESSION_ONLY


class GuardedViewSet(ViewSet):
    """Limits how often an address may try what takes a password or a mailed token, or costs much."""

    scopes = SESSION_ONLY
    pool = thread_pools.SHARED
    guarded: tuple[str, ...] = ()

    def get_throttles(self) -> list:
        extra = [SignInThrottle()] if self.action in self.guarded else []
        return [*super().get_throttles(), *extra]


class AuthViewSet(GuardedViewSet):
    """Accounts and their tokens."""

    guarded = ("signup", "login", "delete_me", "export")
    deletes_with_body = True

    def get_permissions(self) -> Sequence[Any]:
        """Any key may read `/auth/me`, and none delete it; the router knows one set of scopes a path."""
        if self.action == "delete_me":
            self.scopes = SESSION_ONLY
        return super().get_permissions()

    @extend_schema(**schema.SIGN_UP)
    @action(detail=False, methods=["post"], authentication_classes=[], permission_classes=[AllowAny], pool=HASHING)
    def signup(self, request: Request) -> Response:
        """Make an account. The token works at once; a welcome mail goes out."""
        serializer = SignUpSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        count_sign_up(request._request)
        user = services.sign_up(**serializer.validated_data)
        return Response(_session(user), status=status.HTTP_201_CREATED)

    @extend_schema(**schema.LOG_IN)
    @action(detail=False, methods=["post"], authentication_classes=[], permission_classes=[AllowAny], pool=HASHING)
    def login(self, request: Request) -> Response:
        """Get a token for an address and a password, and for a code where the account has a second factor.

        After many failures an account is locked for a while; that sounds like a wrong password, and its owner is told
        by mail.
        """
        serializer = LogInSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        sent = {**serializer.validated_data, "otp": otp_of(request, serializer.validated_data)}
        return Response(_session(services.log_in(request=request._request, **sent)))

    @extend_schema(**schema.ME)
    @action(detail=False, scopes=ANY, pool={"delete": HASHING})
    def me(self, request: Request) -> Response:
        """Tell who the credentials belong to."""
        return Response(AccountSerializer(user_of(request)).data)

    @extend_schema(**schema.DELETE_ME)
    @me.mapping.delete
    def delete_me(self, request: Request) -> Response:
        """Delete the account and all that belongs to it. There is no way back; tokens and keys are dead at once."""
        serializer = PasswordSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        sent = {**serializer.validated_data, "otp": otp_of(request, serializer.validated_data)}
        gone = deletion.delete_own(request=request._request, user=user_of(request), **sent)
        return _message("The account is deleted." if gone else "The account is closed and will be deleted shortly.")

    @extend_schema(**schema.LOG_OUT)
    @action(detail=False, methods=["post"])
    def logout(self, request: Request) -> Response:
        """End the session of the token that is sent, at once; other sessions go on."""
        sessions.end(user=user_of(request), token=credential_of(request))
        return _message("Signed out.")

    @extend_schema(**schema.LOG_OUT_EVERYWHERE)
    @action(detail=False, methods=["post"], url_path="logout-all")
    def logout_all(self, request: Request) -> Response:
        """End all sessions at once, this one too. API keys go on."""
        sessions.end_all(user_of(request))
        return _message("Signed out everywhere.")

    @extend_schema(**schema.EXPORT)
    @action(detail=False)
    def export(self, request: Request) -> HttpResponseBase:
        """Download all that is known of the account, as one JSON document; one at a time."""
        user, place = user_of(request), account_export.Place(user_of(request).pk)
        place.take()
        trail.record(Action.EXPORTED, actor=user, subject=user)
        return download.Download(
            registry.export(user),
            "lunaos-export.json",
            access=get_api_request(request).access,
            on_piece=place.renew,
            on_close=place.release,
        )


class PasswordViewSet(GuardedViewSet):
    """Another password."""

    guarded = ("forgot", "reset", "change")

    @extend_schema(**schema.FORGOT)
    @action(detail=False, methods=["post"], authentication_classes=[], permission_classes=[AllowAny])
    def forgot(self, request: Request) -> Response:
        """Have a token mailed that sets another password: 30 minutes, once. The answer is the same for any address."""
        serializer = EmailSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        passwords.request_reset(**serializer.validated_data)
        return _message("If there is such an account, a mail is on its way.", status.HTTP_202_ACCEPTED)

    @extend_schema(**schema.RESET)
    @action(detail=False, methods=["post"], authentication_classes=[], permission_classes=[AllowAny], pool=HASHING)
    def reset(self, request: Request) -> Response:
        """Set another password with the mailed token. All sessions end, and so does a lockout."""
        serializer = ResetPasswordSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        passwords.reset(**serializer.validated_data)
        return _message("The password is set. Sign in with it.")

    @extend_schema(**schema.CHANGE)
    @action(detail=False, methods=["post"], pool=HASHING)
    def change(self, request: Request) -> Response:
        """Set another password. All other sessions end; go on with the token of the answer."""
        serializer = ChangePasswordSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        sent = serializer.validated_data
        user = passwords.change(
            request=request._request,
            user=user_of(request),
            current=sent["currentPassword"],
            new=sent["newPassword"],
            otp=otp_of(request, sent),
        )
        return Response(_session(user))


class VerificationViewSet(GuardedViewSet):
    """Confirmed addresses."""

    guarded = ("verify", "resend")

    @extend_schema(**schema.VERIFY)
    @action(detail=False, methods=["post"], authentication_classes=[], permission_classes=[AllowAny])
    def verify(self, request: Request) -> Response:
        """Confirm an address with the token that was mailed to it."""
        serializer = MailTokenSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        verification.verify(**serializer.validated_data)
        return _message("The email address is confirmed.")

    @extend_schema(**schema.RESEND)
    @action(detail=False, methods=["post"], url_path="verify/resend")
    def resend(self, request: Request) -> Response:
        """Have the token mailed again, where the address is not confirmed; three times an hour at most."""
        verification.resend(user_of(request))
        return _message("If the address is not confirmed yet, a mail is on its way.", status.HTTP_202_ACCEPTED)


class ActivityPagination(NamedCursorPagination):
    plural = "events"
    ordering = ("-id",)


class ActivityViewSet(GenericViewSet[AuditEvent]):
    """What was done with one's own account."""

    scopes = SESSION_ONLY
    serializer_class = ActivitySerializer
    pagination_class = ActivityPagination
    queryset = AuditEvent.objects.none()

    @extend_schema(**schema.ACTIVITY)
    def list(self, request: Request) -> Response:
        """List what the audit trail holds about your account, newest first."""
        mine = AuditEvent.objects.filter(subject_id=user_of(request).pk).select_related("origin")
        return self.get_paginated_response(ActivitySerializer(self.paginate_queryset(mine), many=True).data)


def _session(user: User) -> dict[str, object]:
    return SessionSerializer({"token": jwt.issue(user), "user": user}).data


def _message(text: str, code: int = status.HTTP_200_OK) -> Response:
    return Response(MessageSerializer({"message": text}).data, status=code)
