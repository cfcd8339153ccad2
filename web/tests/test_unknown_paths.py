"""Unknown paths: the endpoint that was meant, ids that are none, trailing slashes."""

import uuid
from typing import Any

import pytest

from testing.client import Api, error
from web import unknown_paths


def test_it_works(api: Api) -> None:
    response = api.post("/agents/excute", json={})
    assert error(response) == (404, "not_found")
    body = response.json()
    assert body["error"] == "Not found: no endpoint at POST /agents/excute; did you mean POST /agents/execute?"
    assert body["requestId"] == response.headers["X-Request-Id"]
    assert body["docs"].endswith("/docs/errors#not_found")


@pytest.mark.parametrize(
    ("method", "path", "ending"),
    [
        ("GET", "/agent/list", "GET /agent/list; did you mean GET /agents/list?"),
        ("PUT", "/agents/excute", "PUT /agents/excute; did you mean POST /agents/execute?"),
        ("GET", "/admin/user", "GET /admin/user."),
        ("GET", "/metric", "GET /metric."),
        ("GET", "/agents/list" + "x" * 60, f"GET /agents/list{'x' * 60}."),
        ("GET", "/" + "y" * 300, f"GET /{'y' * 199}…."),
    ],
)
def test_suggestions(method: str, path: str, ending: str) -> None:
    assert str(unknown_paths.error_for(method, path)) == f"Not found: no endpoint at {ending}"


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("GET", "/runs/abc", (404, "not_found", "abc is not a run id.")),
        ("GET", "/runs/abc/events", (404, "not_found", "abc is not a run id.")),
        ("POST", "/runs/abc/cancel", (404, "not_found", "abc is not a run id.")),
        ("DELETE", "/api-keys/7", (404, "key_not_found", "7 is not an API key id.")),
        ("GET", "/rag/jobs/x", (404, "not_found", "x is not a job id.")),
        ("GET", f"/runs/{'z' * 90}", (404, "not_found", f"{'z' * 64}… is not a run id.")),
    ],
)
def test_malformed_ids(method: str, path: str, expected: tuple[int, str, str]) -> None:
    found = unknown_paths.error_for(method, path)
    assert (found.status, found.code, str(found)) == expected


def test_a_trailing_slash_is_no_other_path(api: Api, alice: Any) -> None:
    headers = api.as_(alice)
    assert api.get("/agents/list/").json() == api.get("/agents/list").json()
    assert api.post("/auth/login/", json={}).json()["code"] == "validation_error"
    assert error(api.get(f"/runs/{uuid.uuid4()}/", headers=headers)) == (404, "not_found")
    assert api.get("/runs/?limit=1", headers=headers).status_code == 200
    assert api.get("/agents/list//").status_code == 404
    leading = api.get("/%2Fexample.com/")
    assert leading.status_code == 404 and "Location" not in leading.headers


def test_the_admin_keeps_its_slashes(api: Api) -> None:
    entry = api.get("/admin", follow_redirects=False)
    assert entry.status_code in {301, 302} and entry.headers["Location"] == "/admin/"
    assert api.get("/admin/login/").status_code == 200
