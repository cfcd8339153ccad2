"""Every header on every kind of response."""

import re
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from testing.client import Api
from testing.loopback.upstream import Answer, Upstream

SECURITY = {
    "Strict-Transport-Security": "max-age=31536000; includeSubDomains; preload",
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "strict-origin-when-cross-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
}
Request = Callable[[Api, Any], httpx.Response]

JSON = {"Content-Type": "application/json"}
RESPONSES: dict[str, tuple[int, Request]] = {
    "health": (200, lambda api, user: api.get("/health")),
    "public list": (200, lambda api, user: api.get("/agents/list")),
    "success": (200, lambda api, user: api.get("/auth/me", headers=api.as_(user))),
    "stream": (200, lambda api, user: api.execute(user)),
    "stream that failed": (502, lambda api, user: api.execute(user, context="fail")),
    "not authenticated": (401, lambda api, user: api.get("/auth/me")),
    "bad token": (401, lambda api, user: api.get("/auth/me", headers={"Authorization": "Bearer x"})),
    "validation": (400, lambda api, user: api.post("/auth/login", json={})),
    "malformed": (400, lambda api, user: api.post("/auth/login", content="{", headers=JSON)),
    "wrong method": (405, lambda api, user: api.put("/auth/login")),
    "media type": (415, lambda api, user: api.post("/auth/login", content="a=1", headers={"Content-Type": "text/x"})),
    "too large": (413, lambda api, user: api.post("/auth/login", content=b"1" * 1_100_000, headers=JSON)),
    "pro required": (403, lambda api, user: api.execute(user, agent="seo")),
    "unknown agent": (404, lambda api, user: api.execute(user, agent="nobody")),
    "unknown path": (404, lambda api, user: api.get("/no/such/path")),
    "openapi": (200, lambda api, user: api.get("/openapi.json")),
    "docs": (200, lambda api, user: api.get("/docs")),
    "reference": (200, lambda api, user: api.get("/docs/api")),
    "llms": (200, lambda api, user: api.get("/llms.txt")),
    "static": (200, lambda api, user: api.get("/static/admin/css/base.css")),
    "admin": (302, lambda api, user: api.get("/admin/")),
    "admin login": (200, lambda api, user: api.get("/admin/login/")),
    "unknown host": (400, lambda api, user: api.get("/admin/login/", headers={"Host": "evil.example"})),
    "front page": (200, lambda api, user: api.get("/")),
    "status page": (200, lambda api, user: api.get("/status")),
    "error page": (404, lambda api, user: api.get("/nowhere", headers={"Accept": "text/html"})),
    "robots": (200, lambda api, user: api.get("/robots.txt")),
    "options": (200, lambda api, user: api.options("/auth/me", headers=api.as_(user))),
}


@pytest.fixture
def response(request: pytest.FixtureRequest, api: Api, alice: Any, upstream: Upstream) -> httpx.Response:
    upstream.script = lambda asked: Answer(status=500) if asked["messages"][-1]["content"] == "fail" else default(asked)
    default = type(upstream)().script
    status, send = RESPONSES[request.param]
    found = send(api, alice)
    assert found.status_code == status, found.text
    return found


@pytest.mark.parametrize("response", RESPONSES, indirect=True)
def test_headers(response: httpx.Response) -> None:
    headers = response.headers
    assert {name: headers.get(name) for name in SECURITY} == SECURITY
    policy = dict(part.strip().split(" ", 1) for part in headers["Content-Security-Policy"].split(";"))
    assert policy["default-src"] == "'none'" and policy["frame-ancestors"] == "'none'"
    assert "unsafe" not in headers["Content-Security-Policy"]
    if not headers.get("Content-Type", "").startswith("text/html"):
        assert headers["Content-Security-Policy"] == "default-src 'none'; frame-ancestors 'none'"
    for closed in ("camera", "microphone", "geolocation", "usb", "accelerometer", "gyroscope"):
        assert f"{closed}=()" in headers["Permissions-Policy"]
    assert "Server" not in headers and "X-Powered-By" not in headers
    assert re.fullmatch(r"total;dur=\d+\.\d", headers["Server-Timing"])
    assert re.fullmatch(r"[0-9a-f-]{36}", headers["X-Request-Id"])
    assert 0 <= int(headers["X-RateLimit-Remaining"]) <= int(headers["X-RateLimit-Limit"]) == 60
    assert -1 <= int(headers["X-RateLimit-Reset"]) - time.time() <= 61


@pytest.mark.parametrize("sent", ["abc-123", "a.b:c_d", "x" * 128])
def test_a_valid_request_id_is_kept(api: Api, sent: str) -> None:
    assert api.get("/health", headers={"X-Request-Id": sent}).headers["X-Request-Id"] == sent


@pytest.mark.parametrize("sent", ["", "x" * 129, "a b", "a;b", "<script>", "a\tb"])
def test_an_invalid_request_id_is_replaced(api: Api, sent: str) -> None:
    assert re.fullmatch(r"[0-9a-f-]{36}", api.get("/health", headers={"X-Request-Id": sent}).headers["X-Request-Id"])


def test_no_origin_is_allowed_by_default(api: Api) -> None:
    response = api.get("/agents/list", headers={"Origin": "https://evil.example"})
    assert "Access-Control-Allow-Origin" not in response.headers
