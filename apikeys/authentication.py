"""Authentication by `Authorization: Bearer` with a session token or an API key."""

import time
from functools import partial

from rest_framework.authentication import BaseAuthentication
from rest_framework.request import Request

from accounts.models import User
from accounts.signin import jwt
from apikeys import key_lookup, secret
from apikeys.models import ApiKey
from lunaos.api.request import get_api_request
from lunaos.errors import TokenInvalid
from lunaos.infra.read_access import Access

TOKEN = "token"  # noqa: S105 - a kind of credential


def key_of(request: Request) -> ApiKey | None:
    """Return the API key of an authenticated request; None for a token."""
    return request.auth if isinstance(request.auth, ApiKey) else None


class BearerAuthentication(BaseAuthentication):
    """Authenticates API keys by their prefix, and all other credentials as session tokens."""

    def authenticate(self, request: Request) -> tuple[User, ApiKey | str] | None:
        """Authenticate a request; return the user with the key or TOKEN, None without a header."""
        # Readers of events outlive the request, so its access is stored for their later checks.
        header = request.META.get("HTTP_AUTHORIZATION", "")
        if not header:
            return None
        scheme, _, credential = header.partition(" ")
        if scheme.lower() != "bearer" or not credential.strip():
            raise TokenInvalid("Send Authorization: Bearer <token>.")
        credential, now = credential.strip(), time.monotonic()
        if credential.startswith(secret.KEY_PREFIX):
            key = key_lookup.authenticate(credential)
            get_api_request(request).access = _access_of_key(key, credential, now)
            return key.user, key
        user = jwt.authenticate(credential)
        get_api_request(request).access = _access_of_token(user, credential, now)
        return user, TOKEN

    def authenticate_header(self, request: Request) -> str:
        return "Bearer"


def _access_of_key(key: ApiKey, value: str, now: float) -> Access:
    expires_at = key.expires_at.timestamp() if key.expires_at else None
    return Access(key.user_id, key.digest, partial(key_lookup.find, value), now, expires_at)


def _access_of_token(user: User, raw: str, now: float) -> Access:
    return Access(user.pk, raw, partial(jwt.authenticate, raw), now, jwt.read_expiry(raw))
