"""Who sends a request."""

from typing import cast

from rest_framework.request import Request

from accounts.models import User


def user_of(request: Request) -> User:
    """The user of a request that passed authentication and IsAuthenticated."""
    return cast(User, request.user)
