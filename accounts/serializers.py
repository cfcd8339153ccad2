"""Input and output of the account endpoints."""

from typing import Any

from rest_framework import serializers

from accounts.models import User


class LowerCaseEmailField(serializers.EmailField):
    """An address, folded to the form it is stored in."""

    def to_internal_value(self, data: Any) -> str:
        return super().to_internal_value(data).lower()


class SignUpSerializer(serializers.Serializer[Any]):
    email = LowerCaseEmailField(max_length=255)
    password = serializers.CharField(min_length=8, max_length=128, trim_whitespace=False, write_only=True)
    name = serializers.CharField(max_length=100, required=False, default="", allow_blank=True)


class LogInSerializer(serializers.Serializer[Any]):
    email = LowerCaseEmailField(max_length=255)
    password = serializers.CharField(max_length=128, trim_whitespace=False, write_only=True)


class UserSerializer(serializers.ModelSerializer[User]):
    class Meta:
        model = User
        fields = ("id", "email", "name", "tier")


class AccountSerializer(serializers.ModelSerializer[User]):
    class Meta:
        model = User
        fields = ("id", "email", "name", "tier", "created_at")


class SessionSerializer(serializers.Serializer[Any]):
    token = serializers.CharField(help_text="Bearer token, valid for seven days.")
    user = UserSerializer()
