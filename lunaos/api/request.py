"""What the frame knows of a request beyond Django."""

from typing import cast

from django.http import HttpRequest
from rest_framework.request import Request

from lunaos.api.ratelimit import Window
from lunaos.infra.read_access import Access


class ApiRequest(HttpRequest):
    """A request as the frame's middleware leaves it; for the type checker, Django's own object at run time.

    Args:
        id: the request id, the client's own or made.
        started: when it came in, on the `time.perf_counter` clock.
        rate_limit: the window that a throttle counted it in.
        access: the credential that was accepted; absent without one.
    """

    id: str
    started: float
    rate_limit: Window
    access: Access


def get_api_request(request: Request) -> ApiRequest:
    """The request below DRF's."""
    return cast(ApiRequest, request._request)
