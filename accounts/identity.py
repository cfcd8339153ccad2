"""Who sends a request, and whether it is to be done once."""

import time
from collections.abc import Mapping
from functools import partial
from typing import Any, cast

from django.contrib.sessions.backends.base import SessionBase
from django.http import HttpRequest
from rest_framework.request import Request

from accounts.idempotency import RequestKey
from accounts.models import User
from lunaos.api import json
from lunaos.errors import TokenInvalid, ValidationFailed
from lunaos.infra.read_access import Access

LONGEST_KEY = 255
LONGEST_OTP = 16


def user_of(request: Request) -> User:
    """The user of a request that passed authentication and IsAuthenticated."""
    return cast(User, request.user)


def staff_of(request: HttpRequest) -> User:
    """The staff member of a request that passed the admin's own check."""
    return cast(User, request.user)


def access_of_session(request: HttpRequest) -> Access:
    """What a staff member reads by: the session of the admin."""
    user, key, now = staff_of(request), request.session.session_key or "", time.monotonic()
    return Access(user.pk, key, partial(_require_session, type(request.session), key, user), now)


def _require_session(sessions: type[SessionBase], key: str, user: User) -> None:
    now = User.objects.filter(pk=user.pk, is_active=True, is_staff=True).first()
    if now is None or now.credentials_mark != user.credentials_mark or not sessions().exists(key):
        raise TokenInvalid("The session has ended. Sign in again.")


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


def idempotency_key_of(request: Request, content: Mapping[str, Any]) -> RequestKey | None:
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
        raise ValidationFailed.for_field("Idempotency-Key", f"Send 1 to {LONGEST_KEY} printable ASCII characters.")
    return RequestKey.of(key, request.path, json.dumps(dict(sorted(content.items()))))


def credential_of(request: Request) -> str:
    """The token that such a request was sent with, or the key."""
    return str(request.META["HTTP_AUTHORIZATION"].partition(" ")[2].strip())
