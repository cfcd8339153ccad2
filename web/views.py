"""What belongs to no domain: the pages for people, health, and the answer to unknown paths."""

import logging
import sys
from functools import lru_cache
from typing import Any

from django.conf import settings
from django.db import OperationalError
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.utils import extend_schema
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.errors import MailTokenInvalid
from billing.payments import checkout, portal_links, subscriptions
from billing.throttles import Unthrottled
from lunaos.api import json
from lunaos.api.exceptions import Forbidden, skip_request_log, translate
from lunaos.errors import BadRequest, LunaError, NotAuthenticated, NotFound
from lunaos.infra import metrics, thread_pools
from web import health, landing, readiness, status
from web import metrics as figures
from web.pages import FORM_EXPIRED, LINK_EXPIRED, PageView, error_response, render_page
from web.serializers import HealthSerializer, ReadinessSerializer

logger = logging.getLogger(__name__)
MAX_PATH_CHARACTERS = 200  # of the path that an error repeats


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
        """Check each part of the platform. 503 when a required one is down."""
        report, up = health.check()
        return _report(report, up)


class ReadyView(APIView):
    pool = thread_pools.READY
    authentication_classes = ()
    permission_classes = (AllowAny,)
    throttle_classes = (Unthrottled,)

    @extend_schema(operation_id="getReady", responses={200: ReadinessSerializer, 503: ReadinessSerializer}, auth=[])
    def get(self, request: Request) -> Response:
        """Tell whether this process may be sent requests now. 503 when it is stopping or lacks what it needs."""
        report, ready = readiness.check()
        return _report(report, ready)


class MetricsView(APIView):
    """For Prometheus, which shows the token of the settings; where there is none, there is nothing here."""

    pool = thread_pools.METRICS
    authentication_classes = ()
    permission_classes = (AllowAny,)
    throttle_classes = ()

    @extend_schema(exclude=True)
    def get(self, request: Request) -> HttpResponse:
        if not settings.METRICS_TOKEN:
            raise NotFound()
        if not metrics.is_authorized(request.headers.get("Authorization", ""), settings.METRICS_TOKEN):
            raise NotAuthenticated("Show the token: Authorization: Bearer <LUNAOS_METRICS_TOKEN>.")
        return HttpResponse(figures.exposition(), content_type=metrics.CONTENT_TYPE_LATEST)


class SchemaView(APIView):
    """The OpenAPI document itself, without the envelope."""

    authentication_classes = ()
    permission_classes = (AllowAny,)

    @extend_schema(exclude=True)
    def get(self, request: Request) -> HttpResponse:
        return HttpResponse(_schema(), content_type="application/json")


@lru_cache
def _schema() -> bytes:
    return json.dumps(SchemaGenerator().get_schema(request=None, public=True))  # type: ignore[no-untyped-call]


class LandingView(PageView):
    """The front page."""

    def get(self, request: Request) -> HttpResponse:
        response = render_page("web/landing.html", landing.page_context())
        response["Cache-Control"] = "private, max-age=60"  # private, since its headers tell this client's limits
        return response


class StatusView(PageView):
    """`/health` for people; 503 when a required part is down."""

    pool = thread_pools.STATUS
    throttle_classes = (Unthrottled,)

    def get(self, request: Request) -> HttpResponse:
        report, up = health.check()
        response = render_page("web/status.html", status.page_context(report, up), 200 if up else 503)
        skip_request_log(response)
        response["Cache-Control"] = "no-store"
        return response


class UnknownPathView(PageView):
    """404 whatever the method, counted like any request: a page for a browser, else in the contract's form."""

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        path = request.path if len(request.path) <= MAX_PATH_CHARACTERS else f"{request.path[:MAX_PATH_CHARACTERS]}…"
        raise NotFound(f"Not found: no endpoint at {request.method} {path}.")


class CheckoutDoneView(PageView):
    """Where Stripe sends people who have paid. Coming here gives nothing; it has Stripe asked at once."""

    pool = thread_pools.STRIPE

    def get(self, request: Request) -> HttpResponse:
        try:
            checkout.arrived(request.query_params.get("session_id", ""))
        except (LunaError, OperationalError) as e:  # the event will come all the same
            logger.info("After checkout Stripe could not be asked: %s", e)
        return render_page("web/checkout_done.html", {})


class CheckoutCancelledView(PageView):
    """Where Stripe sends people who have changed their mind."""

    def get(self, request: Request) -> HttpResponse:
        return render_page("web/checkout_cancelled.html", {})


class PortalLinkView(PageView):
    """Where the links of mails about payments lead: to Stripe's page for the one they were written for."""

    pool = thread_pools.STRIPE

    def get(self, request: Request) -> HttpResponse:
        user = portal_links.read(request.query_params.get("token", ""))
        if user is None:
            return error_response(request._request, MailTokenInvalid(), LINK_EXPIRED)
        return HttpResponseRedirect(subscriptions.open_portal(user))


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Django's handler400: a host it does not serve, a header it refuses."""
    return error_response(request, BadRequest())


def forbidden(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Django's handler403: what staff may not do in the admin."""
    return error_response(request, Forbidden())


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Django's handler404: what is not in the admin."""
    return error_response(request, NotFound())


def server_error(request: HttpRequest) -> HttpResponse:
    """Django's handler500: what failed outside the API's own frame; 503 where a server is away."""
    error = sys.exc_info()[1]
    return error_response(request, translate(error) if isinstance(error, Exception) else LunaError())


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    """A form without its token, or with one of another session; the reason is for the log."""
    return error_response(request, Forbidden(), FORM_EXPIRED)
