"""Translation of every exception into the error object of the contract."""

import logging
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from django.conf import settings
from django.core.exceptions import PermissionDenied
from django.db import InterfaceError, OperationalError
from django.http import Http404, HttpResponse
from psycopg_pool import PoolTimeout
from rest_framework import exceptions as drf
from rest_framework.response import Response

from lunaos import errors
from lunaos.api import json
from lunaos.infra import client_info
from lunaos.infra.redis import RedisError
from lunaos.infra.signals import request_refused

logger = logging.getLogger(__name__)
DATABASE_RETRY_S = 5
MAX_MESSAGE_CHARACTERS, MAX_FIELD_CHARACTERS = 300, 200  # of one fault: both may hold text of the client
MAX_DETAIL_CHARACTERS = 4_096
ELLIPSIS = "…"
CONTEXT_EXITED = "ThreadSensitiveContext has exited"  # asgiref raises a RuntimeError with this text


class Forbidden(errors.LunaError):
    code, status, message = "forbidden", 403, "You are not allowed to do this."


class MethodNotAllowed(errors.LunaError):
    code, status, message = ("method_not_allowed", 405, "Method not allowed.")


FRAMEWORK_ERRORS: tuple[tuple[tuple[type[Exception], ...], type[errors.LunaError]], ...] = (
    ((drf.NotAuthenticated, drf.AuthenticationFailed), errors.NotAuthenticated),
    ((drf.PermissionDenied, PermissionDenied), Forbidden),
    ((drf.NotFound, Http404), errors.NotFound),
    ((drf.MethodNotAllowed,), MethodNotAllowed),
    ((drf.UnsupportedMediaType,), errors.UnsupportedMediaType),
    ((drf.ParseError,), errors.BadRequest),
)


def translate(exc: Exception) -> errors.LunaError:
    """Return the contract's error for an exception."""
    # Log an unexpected one and return `internal_error`.
    if isinstance(exc, errors.LunaError):
        return exc
    if isinstance(exc, drf.ValidationError):
        return errors.ValidationFailed(
            fields=list(islice(_field_errors(exc.get_full_details()), errors.MAX_FIELD_ERRORS))
        )
    for kinds, error in FRAMEWORK_ERRORS:
        if isinstance(exc, kinds):
            return error()
    if isinstance(exc, OperationalError | InterfaceError | PoolTimeout | RedisError):
        logger.error("A part of the service is down", exc_info=exc)
        return errors.ServiceUnavailable(retry_after=DATABASE_RETRY_S)
    if isinstance(exc, RuntimeError) and str(exc).startswith(CONTEXT_EXITED):
        logger.info("A client closed the connection before the answer began")
        return errors.LunaError()
    logger.error("Unexpected error", exc_info=exc)
    return errors.LunaError()


def body_and_headers(exc: Exception) -> tuple[int, dict[str, Any], dict[str, str]]:
    """Return status, error object and headers for an exception."""
    error = translate(exc)
    body = _limit_size(error.body) | {"requestId": client_info.request_id(), "docs": docs_url(error.code)}
    if settings.DEBUG:
        body["detail"] = _truncate(repr(exc), MAX_DETAIL_CHARACTERS)
    headers = {"WWW-Authenticate": "Bearer"} if error.status == 401 else {}
    if error.retry_after is not None:
        headers["Retry-After"] = str(error.retry_after)
    return error.status, body, headers


def docs_url(code: str) -> str:
    """Return the address of a code's entry in the error catalogue."""
    return f"{settings.PUBLIC_URL}/docs/errors#{code}"


def handle(exc: Exception, context: dict[str, Any]) -> Response:
    """Answer an exception, as the exception handler of DRF."""
    if isinstance(exc, errors.LunaError) and exc.is_refusal:
        request = context["request"]
        request_refused.send_robust(sender=None, user=request.user, credential=request.auth, error=exc)
    status, body, headers = body_and_headers(exc)
    if isinstance(exc, drf.MethodNotAllowed):
        allowed = context["view"].allowed_methods
        headers["Allow"] = ", ".join(allowed)
        body["error"] = f"Method not allowed: use {' or '.join(name for name in allowed if name != 'OPTIONS')}."
    response = Response(body, status=status, headers=headers)
    response.exception = True
    skip_request_log(response)
    return response


def plain_response(exc: Exception) -> HttpResponse:
    """Answer an exception outside DRF: before a stream opens, or in Django's error views."""
    status, body, headers = body_and_headers(exc)
    response = HttpResponse(json.dumps(body), status=status, content_type="application/json", headers=headers)
    skip_request_log(response)
    return response


def skip_request_log(response: HttpResponse) -> None:
    """Keep `django.request` from logging a response: it logs each status from 500 on as an error."""
    # `translate` has logged what is unexpected. What is left are expected refusals such as `spend_limit_reached`.
    response._has_been_logged = True  # type: ignore[attr-defined]


def _field_errors(detail: Any, path: str = "") -> Iterator[dict[str, str]]:
    # Flatten DRF's nested details to dotted paths; errors of the object as a whole keep the object's path.
    if isinstance(detail, dict) and isinstance(detail.get("message"), str) and "code" in detail:
        message = _truncate(detail["message"], MAX_MESSAGE_CHARACTERS)
        yield {"field": _truncate(path, MAX_FIELD_CHARACTERS), "message": message, "code": detail["code"]}
    elif isinstance(detail, dict):
        for key, value in detail.items():
            yield from _field_errors(value, path if key == "non_field_errors" else _join(path, key))
    else:
        for index, value in enumerate(detail):
            leaf = isinstance(value, dict) and isinstance(value.get("message"), str)
            yield from _field_errors(value, path if leaf else _join(path, index))


def _join(path: str, key: object) -> str:
    return f"{path}.{key}" if path else str(key)


def _truncate(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - len(ELLIPSIS)] + ELLIPSIS


def _limit_size(body: Mapping[str, Any]) -> dict[str, Any]:
    # Return the error object, without its further members if it would exceed MAX_ERROR_BYTES.
    if len(json.dumps(body)) <= errors.MAX_ERROR_BYTES:
        return dict(body)
    return {"error": _truncate(body["error"], MAX_MESSAGE_CHARACTERS), "code": body["code"]}
