"""Middleware of every request, on the event loop: id, time, headers, opening of streams."""

import asyncio
import re
import time
import uuid
from collections.abc import Awaitable, Callable
from typing import Any, cast

import structlog
from asgiref.sync import sync_to_async
from csp.middleware import CSPMiddleware
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.urls import get_resolver
from django.utils.decorators import async_only_middleware

from lunaos.api import ratelimit
from lunaos.api.exceptions import plain_response
from lunaos.api.request import ApiRequest
from lunaos.api.streaming.deferred import DeferredResponse
from lunaos.infra import client_info

Handler = Callable[[ApiRequest], Awaitable[HttpResponseBase]]
logger = structlog.get_logger("lunaos.request")

VALID_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}\Z")
NO_REFERRER = "no-referrer"
API_POLICY = "default-src 'none'; frame-ancestors 'none'"
SECURITY_HEADERS = {
    "Strict-Transport-Security": "max-age=31536000; includeSubDomains; preload",
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "strict-origin-when-cross-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": ", ".join(
        f"{feature}=()"
        for feature in ("accelerometer", "camera", "geolocation", "gyroscope", "magnetometer", "microphone", "usb")
    ),
}


@async_only_middleware
def security_headers(get_response: Handler) -> Handler:
    """Put the contract's security headers on every response."""
    # A page may set a stricter Referrer-Policy.

    async def middleware(request: ApiRequest) -> HttpResponseBase:
        response = await get_response(request)
        referrer_policy = response.get("Referrer-Policy")
        for name, value in SECURITY_HEADERS.items():
            response[name] = value
        if referrer_policy == NO_REFERRER:
            response["Referrer-Policy"] = NO_REFERRER
        return response

    return middleware


@async_only_middleware
def request_context(get_response: Handler) -> Handler:
    """Give the request an id and a clock, and write one log line when its response starts."""

    async def middleware(request: ApiRequest) -> HttpResponseBase:
        sent = request.headers.get("X-Request-Id", "")
        request.id = sent if VALID_REQUEST_ID.match(sent) else str(uuid.uuid4())
        request.started = time.perf_counter()
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=request.id)
        client_info.set_current(
            address=ratelimit.client_address(request), user_agent=request.headers.get("User-Agent", "")
        )
        response = await get_response(request)
        elapsed_ms = (time.perf_counter() - request.started) * 1000
        response["X-Request-Id"] = request.id
        response["Server-Timing"] = f"total;dur={elapsed_ms:.1f}"
        logger.info(
            "request",
            method=request.method,
            path=request.path,
            status=response.status_code,
            duration_ms=round(elapsed_ms, 1),
        )
        return response

    return middleware


@async_only_middleware
def rate_limit_headers(get_response: Handler) -> Handler:
    """Add the headers of the rate limit: of the throttle's window, else of the address."""
    # A refused credential counts against the address, so that guessing is limited.

    async def middleware(request: ApiRequest) -> HttpResponseBase:
        response = await get_response(request)
        state = getattr(request, "rate_limit", None)
        if state is None:
            by_address = sync_to_async(ratelimit.get_address_window, thread_sensitive=False)
            state = await by_address(request, count=response.status_code == 401)
        for name, value in state.headers.items():
            response[name] = value
        return response

    return middleware


class ContentSecurityPolicy(CSPMiddleware):
    """Content-Security-Policy: django-csp's for pages, API_POLICY for all else."""

    # Without thread hops.

    async def __acall__(self, request: HttpRequest) -> HttpResponseBase:
        self.process_request(request)
        response = await cast(Awaitable[HttpResponseBase], self.get_response(request))
        if response.get("Content-Type", "").startswith("text/html"):
            return self.process_response(request, response)
        response["Content-Security-Policy"] = API_POLICY
        return response


@async_only_middleware
def refuse_nul(get_response: Handler) -> Handler:
    """Answer 404 to a NUL in a path and 400 to one in a query, since PostgreSQL refuses NUL."""
    # The answer is a page or the contract's error, by the client's Accept.

    async def middleware(request: ApiRequest) -> HttpResponseBase:
        status = 404 if "\0" in request.path_info else 400 if "%00" in request.META.get("QUERY_STRING", "") else None
        if status is None:
            return await get_response(request)
        answer: Any = get_resolver().resolve_error_handler(status)
        return cast(HttpResponseBase, answer(request, exception=None))

    return middleware


@async_only_middleware
def set_content_length(get_response: Handler) -> Handler:
    """Set CONTENT_LENGTH of a chunked body: DRF takes a request without it for one without a body."""

    async def middleware(request: ApiRequest) -> HttpResponseBase:
        if "CONTENT_LENGTH" not in request.META and "HTTP_TRANSFER_ENCODING" in request.META:
            request.META["CONTENT_LENGTH"] = str(request._stream.seek(0, 2))
            request._stream.seek(0)
        return await get_response(request)

    return middleware


@async_only_middleware
def open_streams(get_response: Handler) -> Handler:
    """Wait for a stream's first events, so that an earlier failure is an HTTP error with its status."""
    # If the client disconnects while the view runs, the view continues in its thread; then its stream is abandoned.

    async def middleware(request: ApiRequest) -> HttpResponseBase:
        answering = asyncio.ensure_future(get_response(request))
        try:
            response = await asyncio.shield(answering)
        except asyncio.CancelledError:
            answering.add_done_callback(_abandon_response)
            raise
        if not isinstance(response, DeferredResponse):
            return response
        if request.method == "HEAD":
            return HttpResponse(headers=response.headers)
        response.access = getattr(request, "access", None)
        try:
            return await response.open(settings.STREAM_OPEN_WITHIN_S - (time.perf_counter() - request.started))
        except Exception as e:
            failure = plain_response(e)
            for name in ("X-Run-Id", "Idempotency-Replayed"):
                if name in response.headers:
                    failure.headers[name] = response.headers[name]
            return failure

    return middleware


def _abandon_response(answered: asyncio.Future[HttpResponseBase]) -> None:
    if not answered.cancelled() and answered.exception() is None:
        response = answered.result()
        if isinstance(response, DeferredResponse):
            response.abandon()
