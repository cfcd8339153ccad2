"""The one way into the API: `Authorization: Bearer`, a token of ours or an API key."""

from rest_framework.authentication import BaseAuthentication
from rest_framework.request import Request

from accounts import tokens
from accounts.models import User
from lunaos.errors import ApiKeyInvalid, TokenInvalid

KEY_PREFIX = "lnos_live_"


class BearerAuthentication(BaseAuthentication):
    """Tells keys and tokens apart by their form."""

    def authenticate(self, request: Request) -> tuple[User, str] | None:
        """Find who sends the request.

        Returns:
            The user and the kind of credential, or None without an Authorization header.

        Raises:
            TokenInvalid, TokenExpired, ApiKeyInvalid: credentials that stand for nobody.
        """
        header = request.META.get("HTTP_AUTHORIZATION", "")
        if not header:
            return None
        scheme, _, credential = header.partition(" ")
        if scheme.lower() != "bearer" or not credential.strip():
            raise TokenInvalid("Send Authorization: Bearer <token>.")
        if credential.startswith(KEY_PREFIX):
            raise ApiKeyInvalid()  # no endpoint makes keys yet, so that none can be valid
        return tokens.authenticate(credential.strip()), "token"

    def authenticate_header(self, request: Request) -> str:
        return "Bearer"
