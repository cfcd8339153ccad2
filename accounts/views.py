"""Endpoints of accounts: sign-up, sign-in, sessions, passwords, confirmation of addresses, and personal data."""

from collections.abc import Sequence
from typing import Any

from django.http.response import HttpResponseBase
from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.decorators import action
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response

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
from lunaos.api.views import GenericViewSet, ViewSet
from lunaos.infra import thread_pools
from lunaos.infra.thread_pools import HASHING
from lunaos.scopes import ANY, SESSION_ONLY


class ThrottledViewSet(ViewSet):
    """Base of viewsets that limit attempts per client address for the actions in `throttled_actions`."""

    scopes = SESSION_ONLY
    pool = thread_pools.SHARED
    throttled_actions: tuple[str, ...] = ()

    def get_throttles(self) -> list:
        extra = [SignInThrottle()] if self.action in self.throttled_actions else []
        return [*super().get_throttles(), *extra]


class AuthViewSet(ThrottledViewSet):
    """Accounts and their tokens."""

    bodiless = ("logout", "logout_all")
    throttled_actions = ("signup", "login", "delete_me", "export")
    deletes_with_body = True

    def get_permissions(self) -> Sequence[Any]:
        """Return the permissions; no API key may delete the account, though any key may read `/auth/me`."""
        # Set here, because the router has one set of scopes per path.
        if self.action == "delete_me":
            self.scopes = SESSION_ONLY
        return super().get_permissions()

    @extend_schema(**schema.SIGN_UP)
    @action(detail=False, methods=["post"], authentication_classes=[], permission_classes=[AllowAny], pool=HASHING)
    def signup(self, request: Request) -> Response:
        """Create an account. The token is valid at once, and a welcome mail is sent."""
        serializer = SignUpSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        count_sign_up(request._request)
        user = services.sign_up(**serializer.validated_data)
        return Response(_session(user), status=status.HTTP_201_CREATED)

    @extend_schema(**schema.LOG_IN)
    @action(detail=False, methods=["post"], authentication_classes=[], permission_classes=[AllowAny], pool=HASHING)
    def login(self, request: Request) -> Response:
        """Get a token for an address and a password, and a code if the account has a second factor.

        After many failures an account is locked for some minutes. The answer is the same as for a wrong password, and
        the owner is notified by mail.
        """
        serializer = LogInSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        sent = {**serializer.validated_data, "otp": otp_of(request, serializer.validated_data)}
        return Response(_session(services.log_in(request=request._request, **sent)))

    @extend_schema(**schema.ME)
    @action(detail=False, scopes=ANY, pool={"delete": HASHING})
    def me(self, request: Request) -> Response:
        """Get the account of the credentials."""
        return Response(AccountSerializer(user_of(request)).data)

    @extend_schema(**schema.DELETE_ME)
    @me.mapping.delete
    def delete_me(self, request: Request) -> Response:
        """Delete the account and all its data. This cannot be undone; tokens and keys are invalid at once."""
        serializer = PasswordSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        sent = {**serializer.validated_data, "otp": otp_of(request, serializer.validated_data)}
        deleted = deletion.delete_own_account(request=request._request, user=user_of(request), **sent)
        return _message("The account is deleted." if deleted else "The account is closed and will be deleted shortly.")

    @extend_schema(**schema.LOG_OUT)
    @action(detail=False, methods=["post"])
    def logout(self, request: Request) -> Response:
        """End the session of this token at once; other sessions stay valid."""
        sessions.end(user=user_of(request), token=credential_of(request))
        return _message("Signed out.")

    @extend_schema(**schema.LOG_OUT_EVERYWHERE)
    @action(detail=False, methods=["post"], url_path="logout-all")
    def logout_all(self, request: Request) -> Response:
        """End all sessions at once, including this one. API keys stay valid."""
        sessions.end_all(user_of(request))
        return _message("Signed out everywhere.")

    @extend_schema(**schema.EXPORT)
    @action(detail=False)
    def export(self, request: Request) -> HttpResponseBase:
        """Download all data of the account as one JSON document; one export at a time."""
        user, slot = user_of(request), account_export.ExportSlot(user_of(request).pk)
        slot.acquire()
        trail.record_on_commit(Action.EXPORTED, actor=user, subject=user)
        return download.Download(
            registry.export(user),
            "lunaos-export.json",
            access=get_api_request(request).access,
            on_piece=slot.renew,
            on_close=slot.release,
        )


class PasswordViewSet(ThrottledViewSet):
    """Reset and change of passwords."""

    throttled_actions = ("forgot", "reset", "change")

    @extend_schema(**schema.FORGOT)
    @action(detail=False, methods=["post"], authentication_classes=[], permission_classes=[AllowAny])
    def forgot(self, request: Request) -> Response:
        """Mail a token that sets a new password, valid for 24 hours and one use. All addresses get one answer."""
        serializer = EmailSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        passwords.request_reset(**serializer.validated_data)
        return _message("If there is such an account, a mail is on its way.", status.HTTP_202_ACCEPTED)

    @extend_schema(**schema.RESET)
    @action(detail=False, methods=["post"], authentication_classes=[], permission_classes=[AllowAny], pool=HASHING)
    def reset(self, request: Request) -> Response:
        """Set a new password with the mailed token. All sessions and a lockout end."""
        serializer = ResetPasswordSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        passwords.reset(**serializer.validated_data)
        return _message("The password is set. Sign in with it.")

    @extend_schema(**schema.CHANGE)
    @action(detail=False, methods=["post"], pool=HASHING)
    def change(self, request: Request) -> Response:
        """Set a new password. All sessions end; continue with the token in the answer."""
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


class VerificationViewSet(ThrottledViewSet):
    """Confirmation of addresses."""

    bodiless = ("resend",)
    throttled_actions = ("verify", "resend")

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
        """Mail the token again if the address is not confirmed, at most three times an hour."""
        verification.resend(user_of(request))
        return _message("If the address is not confirmed yet, a mail is on its way.", status.HTTP_202_ACCEPTED)


class ActivityPagination(NamedCursorPagination):
    plural = "events"
    ordering = ("-id",)


class ActivityViewSet(GenericViewSet[AuditEvent]):
    """Activity of the user's own account."""

    scopes = SESSION_ONLY
    serializer_class = ActivitySerializer
    pagination_class = ActivityPagination
    queryset = AuditEvent.objects.none()

    @extend_schema(**schema.ACTIVITY)
    def list(self, request: Request) -> Response:
        """List the audit trail of your account, newest first."""
        own_events = AuditEvent.objects.filter(subject_id=user_of(request).pk).select_related("origin")
        return self.get_paginated_response(ActivitySerializer(self.paginate_queryset(own_events), many=True).data)


def _session(user: User) -> dict[str, object]:
    return SessionSerializer({"token": jwt.issue(user), "user": user}).data


def _message(text: str, code: int = status.HTTP_200_OK) -> Response:
    return Response(MessageSerializer({"message": text}).data, status=code)
