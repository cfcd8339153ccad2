"""Accepted and refused request bodies."""

from collections.abc import Iterator
from io import BytesIO
from typing import Any

import pytest

from lunaos.api.parsers import StrictJSONParser
from lunaos.errors import MalformedJson
from testing.client import Api, error

JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize(
    "body",
    [b"{", b"nonsense", b'{"email": "a@example.com",}', b"\xff\xfe", b'"\\ud800"', b"[1, NaN]", b"[" * 5000, b" "],
)  # fmt: skip
def test_invalid_json(api: Api, body: bytes) -> None:
    assert error(api.post("/auth/login", content=body, headers=JSON)) == (400, "malformed_json")


@pytest.mark.parametrize("body", [b"[]", b'"text"', b"1", b"null", b"{}", b""])
def test_json_of_another_shape(api: Api, body: bytes) -> None:
    assert error(api.post("/auth/login", content=body, headers=JSON)) == (400, "validation_error")


def test_too_large(api: Api) -> None:
    body = b'{"email": "' + b"a" * 1_048_576 + b'"}'
    assert error(api.post("/auth/login", content=body, headers=JSON)) == (413, "payload_too_large")


def chunks(*parts: bytes) -> Iterator[bytes]:
    yield from parts


def test_a_body_sent_in_chunks_is_read(api: Api, alice: Any) -> None:
    body = chunks(b'{"email": "', alice.email.encode(), b'", "password": "wrong"}')
    assert error(api.post("/auth/login", content=body, headers=JSON)) == (401, "invalid_credentials")


def test_a_body_sent_in_chunks_may_be_too_large(api: Api) -> None:
    body = chunks(*[b"1" * 65_536] * 17)
    assert error(api.post("/auth/login", content=body, headers=JSON)) == (413, "payload_too_large")


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "text/json"])
def test_another_media_type(api: Api, kind: str) -> None:
    response = api.post("/auth/login", content=b'{"email": "a@example.com"}', headers={"Content-Type": kind})
    assert error(response) == (415, "unsupported_media_type")


def test_a_form_with_a_file(api: Api) -> None:
    response = api.post("/auth/login", files={"email": b"a@example.com"})
    assert error(response) == (415, "unsupported_media_type")


def test_json_with_a_charset(api: Api, alice: Any) -> None:
    headers = {"Content-Type": "application/json; charset=utf-8"}
    response = api.post("/auth/login", content=b'{"email": "x@example.com", "password": "x"}', headers=headers)
    assert error(response) == (401, "invalid_credentials")


def test_any_accept_header_is_served(api: Api) -> None:
    response = api.get("/agents/list", headers={"Accept": "text/event-stream"})
    assert response.status_code == 200
    assert response.headers["Content-Type"] == "application/json"


def test_a_wrong_method_names_the_right_ones(api: Api) -> None:
    response = api.delete("/auth/login")
    assert error(response) == (405, "method_not_allowed")
    assert "POST" in response.headers["Allow"]


@pytest.mark.parametrize("path", ["/nowhere", "/auth", "/auth/login//", "/agents/execute/x", "/%00", "/auth/../x"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_unknown_paths_answer_in_json(api: Api, method: str, path: str) -> None:
    assert error(api.request(method, path)) == (404, "not_found")


def test_a_body_whose_sender_has_disconnected() -> None:
    """Django closes the body while a view runs."""
    body = BytesIO(b"{}")
    body.close()
    with pytest.raises(MalformedJson):
        StrictJSONParser().parse(body)
