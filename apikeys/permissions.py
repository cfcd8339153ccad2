"""What a key may be used for."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rest_framework.permissions import BasePermission
from rest_framework.request import Request

if TYPE_CHECKING:
    from rest_framework.views import APIView  # at run time it would load itself half: a settings class imports this

from apikeys.models import ApiKey
from lunaos.errors import ScopeMissing


class HasScope(BasePermission):
    """A key needs one of the scopes that the view names; a token needs none."""

    def has_permission(self, request: Request, view: "APIView") -> bool:
        """Raises ScopeMissing, behind the rate limit: asking in vain is not free."""
        required = getattr(view, "scopes", ())
        if lacks_scope(request.auth, required):
            view.check_throttles(request)
            require_scope(request.auth, required)
        return True


def lacks_scope(credential: Any, required: Sequence[str]) -> bool:
    """Whether the credential is a key without any of these scopes."""
    return isinstance(credential, ApiKey) and not set(credential.scopes) & set(required)


def require_scope(credential: Any, required: Sequence[str]) -> None:
    """Raises ScopeMissing where the credential is a key without any of these scopes."""
    if lacks_scope(credential, required):
        message = f"This key lacks the scope {' or '.join(required)}." if required else "Sign in: no key may do this."
        raise ScopeMissing(message, required=list(required), scopes=credential.scopes)
