"""Who sends a request, and whether it is to be done once."""

from collections.abc import Mapping
from typing import Any, cast

from django.http import HttpRequest
from rest_framework.request import Request

from accounts.idempotency import Once
from accounts.models import User
from lunaos.api import json
from lunaos.errors import ValidationFailed

LONGEST_KEY = 255
LONGEST_OTP = 16


def user_of(request: Request) -> User:
    """The user of a request that passed authentication and IsAuthenticated."""
    return cast(User, request.user)


def staff_of(request: HttpRequest) -> User:
    """The staff member of a request that passed the admin's own check."""
    return cast(User, request.user)


def may_touch(request: HttpRequest, user: User | None) -> bool:
    """Whether a staff member may take something from a user, or change what the user may do.

    Staff are for superusers to touch: a password or an address would be the way to their powers.

    Args:
        user: None for what is nobody's.
    """
    return user is None or not (user.is_staff or user.is_superuser) or staff_of(request).is_superuser


def otp_of(request: Request, sent: Mapping[str, Any]) -> str:
    """The code of the second factor that a request was sent with; empty where there is none.

    Args:
        sent: the validated body, whose `otp` goes before the header.
    """
    code = str(sent.get("otp") or request.headers.get("X-OTP", ""))
    return code.replace(" ", "")[:LONGEST_OTP]


def once_of(request: Request, content: Mapping[str, Any]) -> Once | None:
    """The request's idempotency key, where it has one.

    Args:
        content: the validated input, so that the JSON's spelling does not matter.

    Raises:
        ValidationFailed: the key is empty, too long or not printable ASCII.
    """
    key = request.headers.get("Idempotency-Key")
    if key is None:
        return None
    if not (0 < len(key) <= LONGEST_KEY and key.isascii() and key.isprintable()):
        raise ValidationFailed.of("Idempotency-Key", f"Send 1 to {LONGEST_KEY} printable ASCII characters.")
    return Once.of(key, request.path, json.dumps(dict(sorted(content.items()))))


def credential_of(request: Request) -> str:
    """The token that such a request was sent with, or the key."""
    return str(request.META["HTTP_AUTHORIZATION"].partition(" ")[2].strip())
