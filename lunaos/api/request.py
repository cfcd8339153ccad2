"""Attributes that the middleware adds to requests."""

from typing import cast

from django.http import HttpRequest
from rest_framework.request import Request

from lunaos.api.ratelimit import Window
from lunaos.infra.read_access import Access


class ApiRequest(HttpRequest):
    """Django's request with the middleware's attributes; a type for the type checker only."""

    # Attributes:     id: the client's request id, or a new one.     started: time of arrival on the
    # `time.perf_counter` clock.     rate_limit: the window in which a throttle counted the request.     access: the
    # accepted credential; absent without one.

    id: str
    started: float
    rate_limit: Window
    access: Access


def get_api_request(request: Request) -> ApiRequest:
    """Return Django's request below DRF's."""
    return cast(ApiRequest, request._request)
