"""Input and output of the key endpoints."""

from datetime import UTC, datetime
from typing import Any

from drf_spectacular.utils import extend_schema_serializer
from rest_framework import serializers

from accounts.serializers import OtpField
from apikeys.models import ApiKey
from lunaos import scopes
from lunaos.api.fields import BoundedListField, NamedChoiceField
from lunaos.api.serializers import RequestSerializer


class NewKeySerializer(RequestSerializer):
    name = serializers.CharField(max_length=64, required=False, default="Default")
    scopes = BoundedListField(
        child=NamedChoiceField(scopes.ALL),
        required=False,
        default=None,
        allow_empty=False,
        max_length=len(scopes.ALL),
        help_text="The scopes of the key; by default all but `keys`.",
    )
    expiresAt = serializers.DateTimeField(
        required=False,
        default=None,
        allow_null=True,
        help_text="The time of expiry; by default the key does not expire.",
    )
    otp = OtpField()

    def validate_expiresAt(self, value: datetime | None) -> datetime | None:  # noqa: N802 - DRF finds it by the field's name
        if value and value <= datetime.now(UTC):
            raise serializers.ValidationError("This time is in the past. Send a later one.", code="past")
        return value

    def validate_scopes(self, value: list[str] | None) -> list[str] | None:
        return sorted(set(value), key=scopes.ALL.index) if value else None


class KeySerializer(serializers.ModelSerializer[ApiKey]):
    createdAt = serializers.DateTimeField(source="created_at")
    lastUsedAt = serializers.DateTimeField(source="last_used_at", allow_null=True, help_text="To the minute.")
    expiresAt = serializers.DateTimeField(source="expires_at", allow_null=True)

    class Meta:
        model = ApiKey
        fields = ("id", "name", "prefix", "scopes", "createdAt", "lastUsedAt", "expiresAt")


class CreatedKeySerializer(serializers.ModelSerializer[ApiKey]):
    key = serializers.SerializerMethodField(help_text="Shown only in this answer.")
    createdAt = serializers.DateTimeField(source="created_at")
    expiresAt = serializers.DateTimeField(source="expires_at", allow_null=True)

    class Meta:
        model = ApiKey
        fields = ("id", "name", "key", "prefix", "scopes", "createdAt", "expiresAt")

    def get_key(self, key: ApiKey) -> str:
        return str(self.context["secret"])


@extend_schema_serializer(many=False)
class KeyListSerializer(serializers.Serializer[Any]):
    keys = KeySerializer(many=True)


class LeakedKeySerializer(RequestSerializer):
    key = serializers.CharField(max_length=128, write_only=True)
