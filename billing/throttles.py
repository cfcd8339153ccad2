"""Limit requests per minute, by tier."""

from typing import TYPE_CHECKING, cast

from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle

if TYPE_CHECKING:
    # importing it at run time would be circular: DRF's settings name these classes
    from rest_framework.views import APIView

from accounts.auditlog import trail
from accounts.auditlog.trail import Action
from accounts.models import User
from billing import tiers
from lunaos.api import ratelimit
from lunaos.api.request import get_api_request
from lunaos.errors import RateLimited


class RateThrottle(BaseThrottle):
    """Limits requests in one-minute windows, per user or per anonymous address."""

    def allow_request(self, request: Request, view: "APIView") -> bool:
        """Count the request, set its window for the rate-limit headers, or raise RateLimited."""
        user = cast(User | None, request.user)
        if user is None:
            window = ratelimit.get_address_window(request._request, count=True)
        else:
            rate = f"{tiers.get(user.tier).requests_per_minute}/m"
            window = ratelimit.hit(request._request, scope="user", subject=str(user.pk), rate=rate)
        get_api_request(request).rate_limit = window
        if window.exceeded:
            if window.first_excess:
                trail.record_on_commit(Action.RATE_EXCEEDED, actor=user, subject=user, limit=window.limit)
            raise _rate_limited(window, user.tier if user else None)
        return True


class Unthrottled(BaseThrottle):
    """Reports the address's window and never refuses, for health checks."""

    def allow_request(self, request: Request, view: "APIView") -> bool:
        get_api_request(request).rate_limit = ratelimit.get_address_window(request._request, count=False)
        return True


def _rate_limited(window: ratelimit.Window, tier: str | None) -> RateLimited:
    # CONTRACT, section 1, promises `upgradeUrl` in a 429 to the free tier only.
    upgrade = {"upgradeUrl": tiers.upgrade_url(tier)} if tier == tiers.FREE else {}
    return RateLimited(
        f"The limit of {window.limit} requests a minute is reached. Try again in {window.seconds_left} seconds.",
        retry_after=window.seconds_left,
        limit=window.limit,
        tier=tier,
        **upgrade,
    )
