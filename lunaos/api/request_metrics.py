"""Middleware that counts and traces requests by route and status."""

import time
from collections.abc import Awaitable, Callable

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.decorators import async_only_middleware

from lunaos.infra.observability import metrics, tracing

UNROUTED = "unrouted"  # answered before routing: static files, CORS preflights, unknown hosts
UNKNOWN_ROUTE = "unknown"
ADMIN_PREFIX = "/admin/"

Handler = Callable[[HttpRequest], Awaitable[HttpResponseBase]]


@async_only_middleware
def count_requests(get_response: Handler) -> Handler:
    """Count each request when its response starts."""

    async def middleware(request: HttpRequest) -> HttpResponseBase:
        started = time.perf_counter()
        response = await get_response(request)
        seconds = time.perf_counter() - started
        metrics.count_request(
            method=request.method or "", route=get_route(request), status=response.status_code, seconds=seconds
        )
        return response

    return middleware


@async_only_middleware
def trace_requests(get_response: Handler) -> Handler:
    """Start a trace with each request; a trace that the client sends is not trusted."""

    async def middleware(request: HttpRequest) -> HttpResponseBase:
        with tracing.span("request", {}, kind="server") as note:
            response = await get_response(request)
            method = request.method if request.method in metrics.METHODS else "other"
            attributes = {"http.request.method": str(method), "http.route": get_route(request)}
            attributes["lunaos.request_id"] = getattr(request, "id", "")
            note({**attributes, "http.response.status_code": response.status_code}, f"{method} {get_route(request)}")
        return response

    return middleware


def get_route(request: HttpRequest) -> str:
    """Return the template of a request's route; all admin pages count as one route."""
    match = request.resolver_match
    if match is None:
        return UNROUTED
    if not match.route and not match.url_name:
        return UNKNOWN_ROUTE
    route = f"/{match.route}"
    return ADMIN_PREFIX if route.startswith(ADMIN_PREFIX) else route
