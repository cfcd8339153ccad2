"""Pages for people, health and readiness, and the answer to unknown paths."""

import logging
import sys
from functools import lru_cache
from typing import Any

from django.conf import settings
from django.db import OperationalError
from django.http import HttpRequest, HttpResponse
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.utils import extend_schema
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from billing.payments import checkout
from billing.throttles import Unthrottled
from lunaos.api import json
from lunaos.api.exceptions import Forbidden, skip_request_log, translate
from lunaos.errors import BadRequest, LunaError, NotAuthenticated, NotFound
from lunaos.infra import thread_pools
from lunaos.infra.observability import metrics
from web import health, landing, readiness, status, unknown_paths
from web import metrics as figures
from web.pages import FORM_EXPIRED, PageView, error_response, render_page
from web.serializers import HealthSerializer, ReadinessSerializer

logger = logging.getLogger(__name__)


def _report(report: dict[str, Any], is_good: bool) -> Response:
    # A probe repeats every few seconds: while a part is down each answer would be an error in the log.
    response = Response(report, status=200 if is_good else 503)
    skip_request_log(response)
    return response


class HealthView(APIView):
    pool = thread_pools.HEALTH
    authentication_classes = ()
    permission_classes = (AllowAny,)
    throttle_classes = (Unthrottled,)

    @extend_schema(operation_id="getHealth", responses={200: HealthSerializer, 503: HealthSerializer}, auth=[])
    def get(self, request: Request) -> Response:
        """Check each part of the platform. 503 if a required part is down."""
        report, up = health.check()
        return _report(report, up)


class ReadyView(APIView):
    pool = thread_pools.READY
    authentication_classes = ()
    permission_classes = (AllowAny,)
    throttle_classes = (Unthrottled,)

    @extend_schema(operation_id="getReady", responses={200: ReadinessSerializer, 503: ReadinessSerializer}, auth=[])
    def get(self, request: Request) -> Response:
        """Report whether this process accepts requests. 503 while it stops or lacks a dependency."""
        report, ready = readiness.check()
        return _report(report, ready)


class MetricsView(APIView):
    """Prometheus metrics for clients with the token of the settings; 404 without a token set."""

    pool = thread_pools.METRICS
    authentication_classes = ()
    permission_classes = (AllowAny,)
    throttle_classes = ()

    @extend_schema(exclude=True)
    def get(self, request: Request) -> HttpResponse:
        if not settings.METRICS_TOKEN:
            raise NotFound()
        if not metrics.is_authorized(request.headers.get("Authorization", ""), settings.METRICS_TOKEN):
            raise NotAuthenticated("Send the header Authorization: Bearer <LUNAOS_METRICS_TOKEN>.")
        return HttpResponse(figures.exposition(), content_type=metrics.CONTENT_TYPE_LATEST)


class SchemaView(APIView):
    """OpenAPI document, without the envelope."""

    authentication_classes = ()
    permission_classes = (AllowAny,)

    @extend_schema(exclude=True)
    def get(self, request: Request) -> HttpResponse:
        return HttpResponse(_schema(), content_type="application/json")


@lru_cache
def _schema() -> bytes:
    return json.dumps(SchemaGenerator().get_schema(request=None, public=True))  # type: ignore[no-untyped-call]


class LandingView(PageView):
    """Landing page."""

    def get(self, request: Request) -> HttpResponse:
        response = render_page("web/landing.html", landing.page_context())
        response["Cache-Control"] = "private, max-age=60"  # private: its headers state this client's limits
        return response


class StatusView(PageView):
    """Health report as a page; 503 if a required part is down."""

    pool = thread_pools.STATUS
    throttle_classes = (Unthrottled,)

    def get(self, request: Request) -> HttpResponse:
        report, up = health.check()
        response = render_page("web/status.html", status.page_context(report, up), 200 if up else 503)
        skip_request_log(response)
        response["Cache-Control"] = "no-store"
        return response


class UnknownPathView(PageView):
    """404 for unknown paths: a page for a browser, else the API's error object."""

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        raise unknown_paths.error_for(str(request.method), request.path)


class CheckoutDoneView(PageView):
    """Page after a payment at Stripe; it fetches the checkout at once and grants nothing itself."""

    pool = thread_pools.STRIPE

    def get(self, request: Request) -> HttpResponse:
        try:
            checkout.sync_session(request.query_params.get("session_id", ""))
        except (LunaError, OperationalError) as e:  # the webhook will bring the event
            logger.info("Stripe could not be reached after a checkout: %s", e)
        return render_page("web/checkout_done.html", {})


class CheckoutCancelledView(PageView):
    """Page after a checkout that was cancelled at Stripe."""

    def get(self, request: Request) -> HttpResponse:
        return render_page("web/checkout_cancelled.html", {})


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Answer Django's handler400, such as an unknown host."""
    return error_response(request, BadRequest())


def forbidden(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Answer Django's handler403 in the admin."""
    return error_response(request, Forbidden())


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Answer Django's handler404 in the admin."""
    return error_response(request, NotFound())


def server_error(request: HttpRequest) -> HttpResponse:
    """Answer Django's handler500: failures outside the API's frame; 503 if a server is down."""
    error = sys.exc_info()[1]
    return error_response(request, translate(error) if isinstance(error, Exception) else LunaError())


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    """Answer a form with a missing or expired CSRF token."""
    return error_response(request, Forbidden(), FORM_EXPIRED)
