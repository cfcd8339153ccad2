"""Requests counted by route and status, and traced, on the event loop."""

import time
from collections.abc import Awaitable, Callable

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.decorators import async_only_middleware

from lunaos.infra import metrics, tracing

UNROUTED = "unrouted"  # answered before there was a route: static files, preflights of CORS, hosts we do not serve
UNKNOWN = "unknown"
ADMIN = "/admin/"

Handler = Callable[[HttpRequest], Awaitable[HttpResponseBase]]


@async_only_middleware
def measured(get_response: Handler) -> Handler:
    """Count each request when its response starts."""

    async def middleware(request: HttpRequest) -> HttpResponseBase:
        started = time.perf_counter()
        response = await get_response(request)
        seconds = time.perf_counter() - started
        metrics.request(
            method=request.method or "", route=route_of(request), status=response.status_code, seconds=seconds
        )
        return response

    return middleware


@async_only_middleware
def traced(get_response: Handler) -> Handler:
    """Begin a trace with each request; a client's own is not continued, it could say anything."""

    async def middleware(request: HttpRequest) -> HttpResponseBase:
        with tracing.span("request", {}, kind="server") as note:
            response = await get_response(request)
            method = request.method if request.method in metrics.METHODS else "other"
            told = {"http.request.method": str(method), "http.route": route_of(request)}
            told["lunaos.request_id"] = getattr(request, "id", "")
            note({**told, "http.response.status_code": response.status_code}, f"{method} {route_of(request)}")
        return response

    return middleware


def route_of(request: HttpRequest) -> str:
    """The template of a request's route; all pages of the admin are one."""
    match = request.resolver_match
    if match is None:
        return UNROUTED
    if not match.route and not match.url_name:
        return UNKNOWN
    route = f"/{match.route}"
    return ADMIN if route.startswith(ADMIN) else route
