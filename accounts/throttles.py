"""The limit on guessing."""

from typing import cast

from django.conf import settings
from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle
from rest_framework.views import APIView
from rest_framework.viewsets import ViewSet

from accounts import audit
from accounts.audit import Action
from lunaos.api import ratelimit
from lunaos.errors import RateLimited


class SignInThrottle(BaseThrottle):
    """Ten attempts in five minutes per client address, for each endpoint that takes a password or a mailed token."""

    def allow_request(self, request: Request, view: APIView) -> bool:
        action = cast(ViewSet, view).action
        window = ratelimit.hit(
            request._request,
            scope=f"sign-in:{cast(ViewSet, view).basename}:{action}",
            subject=ratelimit.client_address(request._request),
            rate=settings.SIGN_IN_ATTEMPTS,
        )
        if window.first_excess:
            audit.record(Action.RATE_EXCEEDED, limit=window.limit, endpoint=action)
        if window.exceeded:
            raise RateLimited(
                "Too many attempts from this address.", retry_after=window.seconds_left, limit=window.limit
            )
        return True
