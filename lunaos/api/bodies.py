"""How much a request may send, and what is answered to one that was refused before it had arrived.

A view's `max_body_bytes` is the one figure; the proxies of `deploy/` are tested against it.
"""

from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import Any

from asgiref.sync import sync_to_async
from django.conf import settings
from django.http.response import HttpResponseBase
from django.urls import Resolver404, resolve
from django.utils.decorators import async_only_middleware

from lunaos.api import ratelimit
from lunaos.api.exceptions import plain_response
from lunaos.api.request import FramedRequest
from lunaos.errors import LunaError, RateLimited
from lunaos.infra import view_options

STRANGERS_MAX_BODY_BYTES = 65_536  # without a well-formed credential; any view takes as much
AUTHORIZATION, COOKIE, STRIPE_SIGNATURE = "authorization", "cookie", "stripe-signature"
ADMIN = "/admin/"
Handler = Callable[[FramedRequest], Awaitable[HttpResponseBase]]

# Why the server took in no more of the request that is being answered; set before the request's task begins.
refused: ContextVar[LunaError | None] = ContextVar("refused", default=None)


def limits_of(path: str, method: str) -> tuple[int, str]:
    """Return the longest body of a route in bytes, and the header that holds the credential of its senders.

    Args:
        path: without query, unquoted.
    """
    try:
        view: Any = resolve(path).func
    except Resolver404:
        view = None
    longest = int(view_options.of(view, "max_body_bytes", method, settings.MAX_BODY_BYTES))
    credential = COOKIE if path.startswith(ADMIN) else view_options.of(view, "credential", method, AUTHORIZATION)
    return longest, credential


@async_only_middleware
def refusals(get_response: Handler) -> Handler:
    """Answer a request that was refused before it had arrived; it counts against its address."""

    async def middleware(request: FramedRequest) -> HttpResponseBase:
        error = refused.get()
        if error is None:
            return await get_response(request)
        by_address = sync_to_async(ratelimit.by_address, thread_sensitive=False)
        request.rate_limit = window = await by_address(request, count=True)
        if window.exceeded:
            error = RateLimited(retry_after=window.seconds_left, limit=window.limit, tier=None)
        return plain_response(error)

    return middleware
