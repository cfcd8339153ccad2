"""OpenAPI descriptions of the account operations."""

from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiResponse

from accounts.errors import (
    EmailTaken,
    ExportUnderWay,
    InvalidCredentials,
    LastSuperuser,
    MailTokenInvalid,
    OtpInvalid,
    OtpRequired,
    WrongPassword,
)
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
from lunaos.api.schema import OTP, errors
from lunaos.api.serializers import MessageSerializer

PUBLIC: dict[str, Any] = {"auth": []}
SIGN_UP: dict[str, Any] = {
    "operation_id": "signUp",
    "request": SignUpSerializer,
    "responses": {201: SessionSerializer, **errors(EmailTaken)},
    **PUBLIC,
}
LOG_IN: dict[str, Any] = {
    "operation_id": "logIn",
    "request": LogInSerializer,
    "parameters": [OTP],
    "responses": {200: SessionSerializer, **errors(InvalidCredentials, OtpRequired, OtpInvalid)},
    **PUBLIC,
}
ME: dict[str, Any] = {"operation_id": "getMe", "responses": {200: AccountSerializer}}
DELETE_ME: dict[str, Any] = {
    "operation_id": "deleteMe",
    "request": PasswordSerializer,
    "parameters": [OTP],
    "responses": {200: MessageSerializer, **errors(WrongPassword, OtpRequired, OtpInvalid, LastSuperuser)},
}
LOG_OUT: dict[str, Any] = {
    "operation_id": "logOut",
    "request": None,
    "responses": {200: MessageSerializer},
}
LOG_OUT_EVERYWHERE: dict[str, Any] = {
    "operation_id": "logOutEverywhere",
    "request": None,
    "responses": {200: MessageSerializer},
}
ACTIVITY: dict[str, Any] = {"operation_id": "listActivity", "responses": ActivitySerializer(many=True)}
EXPORT: dict[str, Any] = {
    "operation_id": "exportMe",
    "responses": {
        200: OpenApiResponse(
            OpenApiTypes.OBJECT,
            description="Account, activity, repositories with their files, runs with their texts and events, usage.",
        ),
        **errors(ExportUnderWay),
    },
}
FORGOT: dict[str, Any] = {
    "operation_id": "forgotPassword",
    "request": EmailSerializer,
    "responses": {202: MessageSerializer},
    **PUBLIC,
}
RESET: dict[str, Any] = {
    "operation_id": "resetPassword",
    "request": ResetPasswordSerializer,
    "responses": {200: MessageSerializer, **errors(MailTokenInvalid)},
    **PUBLIC,
}
CHANGE: dict[str, Any] = {
    "operation_id": "changePassword",
    "request": ChangePasswordSerializer,
    "parameters": [OTP],
    "responses": {200: SessionSerializer, **errors(WrongPassword, OtpRequired, OtpInvalid)},
}
VERIFY: dict[str, Any] = {
    "operation_id": "verifyEmail",
    "request": MailTokenSerializer,
    "responses": {200: MessageSerializer, **errors(MailTokenInvalid)},
    **PUBLIC,
}
RESEND: dict[str, Any] = {"operation_id": "resendVerification", "request": None, "responses": {202: MessageSerializer}}
