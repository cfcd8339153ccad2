"""The one way into the API: `Authorization: Bearer`, a token of ours or an API key."""

from rest_framework.authentication import BaseAuthentication
from rest_framework.request import Request

from accounts import tokens
from accounts.models import User
from apikeys import secret, use
from apikeys.models import ApiKey
from lunaos.errors import TokenInvalid

TOKEN = "token"  # noqa: S105 - a kind of credential


class BearerAuthentication(BaseAuthentication):
    """Tells keys and tokens apart by their form."""

    def authenticate(self, request: Request) -> tuple[User, ApiKey | str] | None:
        """Find who sends the request.

        Returns:
            The user and the key, or TOKEN; None without an Authorization header.

        Raises:
            TokenInvalid, TokenExpired, ApiKeyInvalid: credentials that stand for nobody.
        """
        header = request.META.get("HTTP_AUTHORIZATION", "")
        if not header:
            return None
        scheme, _, credential = header.partition(" ")
        if scheme.lower() != "bearer" or not credential.strip():
            raise TokenInvalid("Send Authorization: Bearer <token>.")
        credential = credential.strip()
        if credential.startswith(secret.MARK):
            key = use.authenticate(credential)
            return key.user, key
        return tokens.authenticate(credential), TOKEN

    def authenticate_header(self, request: Request) -> str:
        return "Bearer"
