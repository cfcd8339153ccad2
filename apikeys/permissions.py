"""Permission by the scopes of API keys."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rest_framework.permissions import BasePermission
from rest_framework.request import Request

if TYPE_CHECKING:
    from rest_framework.views import APIView  # a cycle at run time: DRF's settings import this module

from apikeys.models import ApiKey
from lunaos.errors import ScopeMissing


class HasScope(BasePermission):
    """Requires one of the view's scopes of a key, and none of a session token."""

    def has_permission(self, request: Request, view: "APIView") -> bool:
        """Return True, or raise ScopeMissing; refused requests count for the rate limit."""
        required = getattr(view, "scopes", ())
        if lacks_scope(request.auth, required):
            # DRF checks throttles only after permissions, so a refused request would not count.
            view.check_throttles(request)
            require_scope(request.auth, required)
        return True


def lacks_scope(credential: Any, required: Sequence[str]) -> bool:
    """Return whether the credential is a key without any of these scopes."""
    return isinstance(credential, ApiKey) and not set(credential.scopes) & set(required)


def require_scope(credential: Any, required: Sequence[str]) -> None:
    """Raise ScopeMissing if the credential is a key without any of these scopes."""
    if lacks_scope(credential, required):
        message = (
            f"This key lacks the scope {' or '.join(required)}."
            if required
            else "No API key may do this. Sign in and send a session token."
        )
        raise ScopeMissing(message, required=list(required), scopes=credential.scopes)
