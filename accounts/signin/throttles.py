"""Rate limits on sign-in and sign-up per client address."""

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
    """Limit of ten attempts in five minutes per client address and endpoint (SIGN_IN_ATTEMPTS)."""

    def allow_request(self, request: Request, view: APIView) -> bool:
        window = count_attempt(request._request, cast(ViewSet, view).action)
        if window.exceeded:
            raise RateLimited(
                "Too many attempts from this address.", retry_after=window.seconds_left, limit=window.limit
            )
        return True


def count_sign_up(request: HttpRequest) -> None:
    """Count a sign-up of the request's IPv4 address or IPv6 network, or raise RateLimited."""
    subject, rate = ratelimit.client_network(request), f"{settings.SIGN_UPS_PER_DAY}/d"
    window = ratelimit.hit(request, scope="sign-ups", subject=subject, rate=rate)
    if window.first_excess:
        trail.record_on_commit(Action.RATE_EXCEEDED, limit=window.limit, endpoint="signup a day")
    if window.exceeded:
        raise RateLimited(
            f"{window.limit} accounts a day can be created from one address.",
            retry_after=window.seconds_left,
            limit=window.limit,
        )


def count_attempt(request: HttpRequest, endpoint: str) -> ratelimit.Window:
    """Count an attempt of the request's address at an endpoint, and return the window."""
    window = ratelimit.hit(
        request,
        scope=f"sign-in:{endpoint}",
        subject=ratelimit.client_network(request),
        rate=settings.SIGN_IN_ATTEMPTS,
        local_fallback=True,
    )
    if window.first_excess:
        trail.record_on_commit(Action.RATE_EXCEEDED, limit=window.limit, endpoint=endpoint)
    return window
