"""What belongs to no domain: health, and the answer to unknown paths."""

import logging
from functools import lru_cache
from typing import Any

from django.db import OperationalError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.utils import extend_schema
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from billing import checkouts
from billing.throttles import Unthrottled
from lunaos.api import json
from lunaos.api.exceptions import BadRequest, plain_response
from lunaos.errors import LunaError, NotFound
from web import health
from web.serializers import HealthSerializer

logger = logging.getLogger(__name__)


class HealthView(APIView):
    authentication_classes = ()
    permission_classes = (AllowAny,)
    throttle_classes = (Unthrottled,)

    @extend_schema(operation_id="getHealth", responses={200: HealthSerializer, 503: HealthSerializer}, auth=[])
    def get(self, request: Request) -> Response:
        """Check each part of the platform. 503 when a required one is down."""
        report, up = health.check()
        return Response(report, status=200 if up else 503)


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


class UnknownPathView(APIView):
    """404 in the contract's form, whatever the method, counted like any request."""

    authentication_classes = ()
    permission_classes = (AllowAny,)

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        raise NotFound()


class CheckoutDoneView(APIView):
    """Where Stripe sends people who have paid. Coming here gives nothing; it has Stripe asked at once."""

    authentication_classes = ()
    permission_classes = (AllowAny,)

    @extend_schema(exclude=True)
    def get(self, request: Request) -> HttpResponse:
        try:
            checkouts.arrived(request.query_params.get("session_id", ""))
        except (LunaError, OperationalError) as e:  # the event will come all the same
            logger.info("After checkout Stripe could not be asked: %s", e)
        return render(request._request, "billing/success.html")


class CheckoutCancelledView(APIView):
    """Where Stripe sends people who have changed their mind."""

    authentication_classes = ()
    permission_classes = (AllowAny,)

    @extend_schema(exclude=True)
    def get(self, request: Request) -> HttpResponse:
        return render(request._request, "billing/cancelled.html")


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Django's handler400: a host it does not serve, a header it refuses."""
    return plain_response(BadRequest())


def server_error(request: HttpRequest) -> HttpResponse:
    """Django's handler500: what failed outside the API's own frame."""
    return plain_response(LunaError())
