"""Error responses outside Django's middleware, with the contract's object and headers."""

import time
import uuid
from collections.abc import Mapping
from typing import Any

import structlog
from django.conf import settings
from django.http import HttpResponse

from lunaos.api.exceptions import plain_response
from lunaos.api.middleware import API_POLICY, SECURITY_HEADERS, VALID_REQUEST_ID
from lunaos.api.ratelimit import Window

WINDOW_S = 60


def create(scope: Mapping[str, Any], error: Exception, seconds: float) -> HttpResponse:
    """Return the response to a request that failed outside the middleware."""
    request_id = _request_id(scope)
    with structlog.contextvars.bound_contextvars(request_id=request_id):
        response = plain_response(error)
    window = Window(settings.ANONYMOUS_REQUESTS_PER_MINUTE, 0, int(time.time()) + WINDOW_S)  # it was not counted
    headers = SECURITY_HEADERS | window.headers
    headers["Content-Security-Policy"] = API_POLICY
    headers["X-Request-Id"] = request_id
    headers["Server-Timing"] = f"total;dur={1000 * seconds:.1f}"
    for name, value in headers.items():
        response[name] = value
    return response


def _request_id(scope: Mapping[str, Any]) -> str:
    sent = dict(scope.get("headers", ())).get(b"x-request-id", b"").decode("latin-1")
    return sent if VALID_REQUEST_ID.match(sent) else str(uuid.uuid4())
