"""Requests a minute, by tier."""

from typing import TYPE_CHECKING, cast

from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle

if TYPE_CHECKING:
    from rest_framework.views import APIView  # at run time it would load itself half: a settings class imports this

from accounts.auditlog import trail
from accounts.auditlog.trail import Action
from accounts.models import User
from billing import tiers
from lunaos.api import ratelimit
from lunaos.api.request import get_api_request
from lunaos.errors import RateLimited


class RateThrottle(BaseThrottle):
    """A fixed one-minute window per user, or per address without credentials."""

    def allow_request(self, request: Request, view: "APIView") -> bool:
        """Count the request; its window goes out in the headers.

        Raises:
            RateLimited: the window is full.
        """
        user = cast(User | None, request.user)
        if user is None:
            window = ratelimit.get_address_window(request._request, count=True)
        else:
            rate = f"{tiers.of(user.tier).requests_per_minute}/m"
            window = ratelimit.hit(request._request, scope="user", subject=str(user.pk), rate=rate)
        get_api_request(request).rate_limit = window
        if window.exceeded:
            if window.first_excess:
                trail.record(Action.RATE_EXCEEDED, actor=user, subject=user, limit=window.limit)
            raise _refusal(window, user.tier if user else None)
        return True


class Unthrottled(BaseThrottle):
    """Shows the window of the address and never refuses: health checks come as often as a balancer likes."""

    def allow_request(self, request: Request, view: "APIView") -> bool:
        get_api_request(request).rate_limit = ratelimit.get_address_window(request._request, count=False)
        return True


def _refusal(window: ratelimit.Window, tier: str | None) -> RateLimited:
    upgrade = {"upgradeUrl": tiers.upgrade_url()} if tier == "free" else {}
    return RateLimited(
        f"{window.limit} requests a minute are allowed. Try again in {window.seconds_left} seconds.",
        retry_after=window.seconds_left,
        limit=window.limit,
        tier=tier,
        **upgrade,
    )
