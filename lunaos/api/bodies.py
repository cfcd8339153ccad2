"""Limits of request bodies, and answers to requests that were refused while they arrived."""

# A view's `max_body_bytes` is the only source of the limit; the proxies in `deploy/` are tested against it.

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
from lunaos.api.request import ApiRequest
from lunaos.errors import LunaError, RateLimited
from lunaos.infra import view_options

MAX_ANONYMOUS_BODY_BYTES = 65_536  # accepted by every view without a well-formed credential
AUTHORIZATION, COOKIE, STRIPE_SIGNATURE = "authorization", "cookie", "stripe-signature"
ADMIN_PREFIX = "/admin/"
Handler = Callable[[ApiRequest], Awaitable[HttpResponseBase]]

# The reason for which the server stopped reading the current request; set before the request's task starts.
early_error: ContextVar[LunaError | None] = ContextVar("refused", default=None)


def get_body_limit(path: str, method: str) -> tuple[int, str]:
    """Return the maximum body of a route in bytes, and the header that carries its credential."""
    try:
        view: Any = resolve(path).func
    except Resolver404:
        view = None
    max_bytes = int(view_options.read(view, "max_body_bytes", method, settings.MAX_BODY_BYTES))
    credential = (
        COOKIE if path.startswith(ADMIN_PREFIX) else view_options.read(view, "credential", method, AUTHORIZATION)
    )
    return max_bytes, credential


@async_only_middleware
def early_errors(get_response: Handler) -> Handler:
    """Answer a request that was refused while it arrived."""
    # Count it against its address.

    async def middleware(request: ApiRequest) -> HttpResponseBase:
        error = early_error.get()
        if error is None:
            return await get_response(request)
        by_address = sync_to_async(ratelimit.get_address_window, thread_sensitive=False)
        request.rate_limit = window = await by_address(request, count=True)
        if window.exceeded:
            error = RateLimited(retry_after=window.seconds_left, limit=window.limit, tier=None)
        return plain_response(error)

    return middleware
