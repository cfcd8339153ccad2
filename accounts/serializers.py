"""Input and output of the account endpoints."""

from typing import Any

from rest_framework import serializers

from accounts.auditlog import trail
from accounts.models import AuditEvent, User
from accounts.validators import validate_single_line
from lunaos.api.serializers import RequestSerializer


class LowerCaseEmailField(serializers.EmailField):
    """An address, in lower case as it is stored."""

    def to_internal_value(self, data: Any) -> str:
        return super().to_internal_value(data).lower()


class NewPasswordField(serializers.CharField):
    """A new password; Django's validators check it later."""

    def __init__(self, **options: Any) -> None:
        super().__init__(min_length=8, max_length=128, trim_whitespace=False, write_only=True, **options)


class PasswordField(serializers.CharField):
    """An existing password, which may be older than today's rules."""

    def __init__(self, **options: Any) -> None:
        super().__init__(max_length=128, trim_whitespace=False, write_only=True, **options)


class OtpField(serializers.CharField):
    """A code of the second factor; `identity.otp_of` also reads the header."""

    def __init__(self, **options: Any) -> None:
        super().__init__(
            max_length=16,
            required=False,
            default="",
            allow_blank=True,
            allow_null=True,
            write_only=True,
            help_text="For an account with a second factor: the current code of its app, or a backup code.",
            **options,
        )


class SignUpSerializer(RequestSerializer):
    email = LowerCaseEmailField(max_length=255)
    password = NewPasswordField()
    name = serializers.CharField(
        max_length=100,
        required=False,
        default="",
        allow_blank=True,
        validators=[validate_single_line],
        help_text="One line.",
    )


class LogInSerializer(RequestSerializer):
    email = LowerCaseEmailField(max_length=255)
    password = PasswordField()
    otp = OtpField()


class UserSerializer(serializers.ModelSerializer[User]):
    class Meta:
        model = User
        fields = ("id", "email", "name", "tier")


class AccountSerializer(serializers.ModelSerializer[User]):
    class Meta:
        model = User
        fields = ("id", "email", "name", "tier", "created_at")


class ActivitySerializer(serializers.ModelSerializer[AuditEvent]):
    """An audit row as the owner of the account may see it."""

    id = serializers.CharField()
    actor = serializers.SerializerMethodField(
        help_text="`you`, `staff`, or null for the platform and for requests without a sign-in."
    )
    requestId = serializers.CharField(source="request_id")
    address = serializers.SerializerMethodField(
        help_text="The client's address; empty if the action came from no client."
    )
    userAgent = serializers.SerializerMethodField()
    details = serializers.DictField()

    class Meta:
        model = AuditEvent
        fields = ("id", "at", "action", "actor", "requestId", "address", "userAgent", "details")

    def get_actor(self, event: AuditEvent) -> str | None:
        if event.actor_id is None:
            return None
        return "you" if event.actor_id == event.subject_id else "staff"

    def get_address(self, event: AuditEvent) -> str:
        return trail.client_info_visible_to(event, event.subject_id).address

    def get_userAgent(self, event: AuditEvent) -> str:  # noqa: N802 - DRF finds it by the field's name
        return trail.client_info_visible_to(event, event.subject_id).user_agent


class SessionSerializer(serializers.Serializer[Any]):
    token = serializers.CharField(help_text="Bearer token, valid for seven days.")
    user = UserSerializer()


class EmailSerializer(RequestSerializer):
    email = LowerCaseEmailField(max_length=255)


class MailTokenSerializer(RequestSerializer):
    token = serializers.CharField(max_length=512, help_text="The token from the mail; valid once.")


class ResetPasswordSerializer(MailTokenSerializer):
    password = NewPasswordField()


class ChangePasswordSerializer(RequestSerializer):
    currentPassword = PasswordField()
    newPassword = NewPasswordField()
    otp = OtpField()


class PasswordSerializer(RequestSerializer):
    password = PasswordField()
    otp = OtpField()
