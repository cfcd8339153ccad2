"""From any exception to the contract's error object."""

import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from django.db import OperationalError
from django.http import Http404
from django.utils.log import log_response
from psycopg_pool import PoolTimeout
from redis.exceptions import ConnectionError as RedisConnectionError
from rest_framework import exceptions as drf

from lunaos import errors
from lunaos.api.exceptions import body_and_headers, plain_response
from runs.errors import SpendLimitReached
from testing.servers import daphne


def test_an_unexpected_exception_hides_its_text() -> None:
    response = plain_response(RuntimeError("the password is swordfish"))
    assert response.status_code == 500
    body = json.loads(response.content)
    assert (body["error"], body["code"]) == ("Something went wrong on our side.", "internal_error")
    assert body.keys() == {"error", "code", "requestId", "docs"}
    assert body["docs"].endswith("/docs/errors#internal_error")


def test_with_debug_it_shows_its_text(settings: Any) -> None:
    settings.DEBUG = True
    assert body_and_headers(RuntimeError("swordfish"))[1]["detail"] == "RuntimeError('swordfish')"


@pytest.mark.parametrize(
    ("exception", "status", "code"),
    [
        (Http404(), 404, "not_found"),
        (drf.NotAuthenticated(), 401, "not_authenticated"),
        (drf.PermissionDenied(), 403, "forbidden"),
        (drf.ParseError(), 400, "bad_request"),
        (OperationalError("server closed the connection"), 503, "service_unavailable"),
        (PoolTimeout(), 503, "service_unavailable"),
        (RedisConnectionError("refused"), 503, "service_unavailable"),
    ],
)
def test_foreign_exceptions(exception: Exception, status: int, code: str) -> None:
    found, body, headers = body_and_headers(exception)
    assert (found, body["code"]) == (status, code)
    assert ("Retry-After" in headers) == (status == 503)
    assert ("WWW-Authenticate" in headers) == (status == 401)


@pytest.mark.parametrize(
    ("detail", "fields"),
    [
        ({"email": ["bad"]}, [("email", "bad")]),
        ({"files": [{}, {"path": ["long"]}]}, [("files.1.path", "long")]),
        ({"non_field_errors": ["odd"]}, [("", "odd")]),
        ({"a": {"non_field_errors": ["odd"]}, "b": ["x", "y"]}, [("a", "odd"), ("b", "x"), ("b", "y")]),
        (["alone"], [("", "alone")]),
    ],
)
def test_fields_have_dotted_paths(detail: Any, fields: list[tuple[str, str]]) -> None:
    body = body_and_headers(drf.ValidationError(detail))[1]
    assert body["code"] == errors.ValidationFailed.code
    assert [(entry["field"], entry["message"]) for entry in body["fields"]] == fields


def test_debug_over_http(database: None, tmp_path: Path) -> None:
    with daphne(tmp_path / "web.log", DJANGO_DEBUG="true") as url:
        unknown = httpx.get(f"{url}/no/such/path")
        assert (unknown.status_code, unknown.json()["code"]) == (404, "not_found")
        assert "detail" in unknown.json()
        assert httpx.get(f"{url}/static/drf_spectacular_sidecar/swagger-ui-dist/swagger-ui.css").status_code == 200


def test_an_expected_503_is_no_error_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    response = plain_response(SpendLimitReached())
    assert response.status_code == 503
    log_response("%s", response.reason_phrase, response=response)
    assert caplog.records == []


def test_a_client_that_leaves_early_is_no_error_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    plain_response(RuntimeError("ThreadSensitiveContext has exited. Tasks created inside a context …"))
    assert [record.levelname for record in caplog.records if record.levelname in ("ERROR", "WARNING")] == []
