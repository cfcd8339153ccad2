"""The limit on guessing."""

from typing import cast

from django.conf import settings
from django.http import HttpRequest
from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle
from rest_framework.views import APIView
from rest_framework.viewsets import ViewSet

from accounts.auditlog import trail
from accounts.auditlog.trail import Action
from lunaos.api import ratelimit
from lunaos.errors import RateLimited


class SignInThrottle(BaseThrottle):
    """Ten attempts in five minutes per client address, at each endpoint that a viewset guards with it."""

    def allow_request(self, request: Request, view: APIView) -> bool:
        window = count(request._request, cast(ViewSet, view).action)
        if window.exceeded:
            raise RateLimited(
                "Too many attempts from this address.", retry_after=window.seconds_left, limit=window.limit
            )
        return True


def count_sign_up(request: HttpRequest) -> None:
    """Count a sign-up of the request's address, or of its IPv6 network.

    Raises:
        RateLimited: there were as many as a day allows.
    """
    subject, rate = ratelimit.client_network(request), f"{settings.SIGN_UPS_PER_DAY}/d"
    window = ratelimit.hit(request, scope="sign-ups", subject=subject, rate=rate)
    if window.first_excess:
        trail.record(Action.RATE_EXCEEDED, limit=window.limit, endpoint="signup a day")
    if window.exceeded:
        raise RateLimited(
            f"{window.limit} accounts a day can be made from one address.",
            retry_after=window.seconds_left,
            limit=window.limit,
        )


def count(request: HttpRequest, endpoint: str) -> ratelimit.Window:
    """Count an attempt of the request's address at an endpoint."""
    window = ratelimit.hit(
        request,
        scope=f"sign-in:{endpoint}",
        subject=ratelimit.client_network(request),
        rate=settings.SIGN_IN_ATTEMPTS,
        local_fallback=True,
    )
    if window.first_excess:
        trail.record(Action.RATE_EXCEEDED, limit=window.limit, endpoint=endpoint)
    return window
