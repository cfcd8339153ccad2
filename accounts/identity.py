"""The user, credential, one-time code and idempotency key of a request."""

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

MAX_KEY_LENGTH = 255
MAX_OTP_LENGTH = 16


def user_of(request: Request) -> User:
    """Return the user of a request that passed authentication and IsAuthenticated."""
    return cast(User, request.user)


def staff_of(request: HttpRequest) -> User:
    """Return the staff member of a request that passed the admin's own check."""
    return cast(User, request.user)


def access_of_session(request: HttpRequest) -> Access:
    """Return the access that a session of the admin gives to a reader of events."""
    user, key, now = staff_of(request), request.session.session_key or "", time.monotonic()
    return Access(user.pk, key, partial(_require_session, type(request.session), key, user), now)


def _require_session(sessions: type[SessionBase], key: str, user: User) -> None:
    now = User.objects.filter(pk=user.pk, is_active=True, is_staff=True).first()
    if now is None or now.credentials_fingerprint != user.credentials_fingerprint or not sessions().exists(key):
        raise TokenInvalid("The session has ended. Sign in again.")


def may_modify(request: HttpRequest, user: User | None) -> bool:
    """Return whether a staff member may change or delete data of a user."""
    # Only superusers change staff: a new password or address would give away the privileges of that account.
    return user is None or not (user.is_staff or user.is_superuser) or staff_of(request).is_superuser


def otp_of(request: Request, sent: Mapping[str, Any]) -> str:
    """Return the second factor's code from the body, else from the header X-OTP."""
    code = str(sent.get("otp") or request.headers.get("X-OTP", ""))
    return code.replace(" ", "")[:MAX_OTP_LENGTH]


def idempotency_key_of(request: Request, content: Mapping[str, Any]) -> RequestKey | None:
    """Return the request's idempotency key; raise ValidationFailed unless it is printable ASCII."""
    # The key covers the validated input, so that the formatting of the JSON does not matter.
    key = request.headers.get("Idempotency-Key")
    if key is None:
        return None
    if not (0 < len(key) <= MAX_KEY_LENGTH and key.isascii() and key.isprintable()):
        raise ValidationFailed.for_field("Idempotency-Key", f"Send 1 to {MAX_KEY_LENGTH} printable ASCII characters.")
    return RequestKey.from_request(key, request.path, json.dumps(dict(sorted(content.items()))))


def credential_of(request: Request) -> str:
    return str(request.META["HTTP_AUTHORIZATION"].partition(" ")[2].strip())
