"""Session tokens: JSON Web Tokens with a `kid` in the header, so that the signing secret can be rotated."""

import hashlib
import hmac
import re
import time
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any
from uuid import UUID

import jwt
from django.conf import settings
from django.db.models.functions import Now
from rest_framework_simplejwt.backends import TokenBackend
from rest_framework_simplejwt.exceptions import ExpiredTokenError, TokenBackendError, TokenError
from rest_framework_simplejwt.tokens import AccessToken

from accounts.models import RevokedToken, User
from lunaos import errors

CREDENTIALS_CLAIM = "cred"
TOKEN_PATTERN = re.compile(r"[\w-]{8,4096}\.[\w-]{8,8192}\.[\w-]{8,1024}\Z", re.ASCII)
CLAIM_TYPES: dict[str, type | tuple[type, ...]] = {
    **dict.fromkeys(("exp", "iat"), (int, float)),
    **dict.fromkeys(("sub", "jti", "email", "tier", CREDENTIALS_CLAIM), str),
}
# Raised by the libraries for a correctly signed token whose claims have unexpected types.
CLAIM_ERRORS = (TypeError, ValueError, ArithmeticError, AttributeError, LookupError, RecursionError)
CLOCK_SKEW_S = 60  # between nodes: a token may come from a node whose clock is ahead


@lru_cache
def _keys() -> dict[str, str]:
    derived = hmac.new(settings.SECRET_KEY.encode(), b"lunaos.jwt", hashlib.sha256).hexdigest()
    return settings.JWT_KEYS or {"default": derived}


class RotatingBackend(TokenBackend):
    """Signs with the first key and verifies with the key that the token names (RFC 7515, 4.1.4)."""

    def encode(self, payload: dict[str, Any]) -> str:
        kid, secret = next(iter(_keys().items()))
        return jwt.encode(payload, secret, algorithm=self.algorithm, headers={"kid": kid})

    def get_verifying_key(self, token: Any) -> bytes:
        try:
            return _keys()[jwt.get_unverified_header(token)["kid"]].encode()
        except (jwt.InvalidTokenError, KeyError, TypeError) as e:
            raise TokenBackendError("Token is signed with an unknown key") from e


class SessionToken(AccessToken):
    """The bearer token that sign-up and login return."""

    _token_backend = RotatingBackend("HS256", leeway=CLOCK_SKEW_S)


def issue(user: User) -> str:
    # Its tier is for display only, the tier in the database decides.
    token = SessionToken.for_user(user)
    token["email"] = user.email
    token["tier"] = user.tier
    token[CREDENTIALS_CLAIM] = user.credentials_fingerprint
    return str(token)


def authenticate(raw: str) -> User:
    """Return the user of a token; raise TokenExpired, or TokenInvalid for any other fault."""
    try:
        claims = _verify(raw)
    except ExpiredTokenError as e:
        raise errors.TokenExpired() from e
    except (TokenError, TokenBackendError) as e:
        raise errors.TokenInvalid() from e
    if claims["exp"] <= time.time():  # without leeway: revocations of expired tokens are deleted
        raise errors.TokenExpired()
    user = User.objects.for_session(claims["sub"], claims["jti"])
    if user is None or not user.is_active:
        raise errors.TokenInvalid()
    if not hmac.compare_digest(str(claims.get(CREDENTIALS_CLAIM)).encode(), user.credentials_fingerprint.encode()):
        raise errors.TokenInvalid()
    return user


def read_expiry(raw: str) -> float:
    """Return when a token expires, in Unix seconds."""
    return float(_verify(raw)["exp"])


def revoke(raw: str) -> None:
    """Revoke one authenticated token, in every process from the next request on."""
    claims = _verify(raw)
    expires_at = datetime.fromtimestamp(claims["exp"], UTC)
    revoked = RevokedToken(jti=claims["jti"], user_id=claims["sub"], expires_at=expires_at)
    RevokedToken.objects.bulk_create([revoked], ignore_conflicts=True)


def delete_expired() -> None:
    RevokedToken.objects.filter(expires_at__lt=Now()).delete()


@lru_cache(maxsize=4096)
def _verify(raw: str) -> dict[str, Any]:
    # Cached, because a signature stays valid; expiry and revocation are checked on every request.
    try:
        claims: dict[str, Any] = SessionToken(raw).payload  # type: ignore[arg-type]
        UUID(claims["sub"]), UUID(claims["jti"]), datetime.fromtimestamp(claims["exp"], UTC)
    except CLAIM_ERRORS as e:
        raise TokenError("Token has unreadable claims") from e
    for name in CLAIM_TYPES.keys() & claims.keys():
        if not isinstance(claims[name], CLAIM_TYPES[name]) or isinstance(claims[name], bool):
            raise TokenError(f"Token has a {name} of a wrong type")
    return claims
