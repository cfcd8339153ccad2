"""API keys can only do what their scopes allow."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.urls import get_resolver
from rest_framework.permissions import AllowAny
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from apikeys.models import ApiKey
from lunaos.scopes import ALL
from testing.client import Api, error
from testing.loopback.upstream import Upstream
from testing.windows import user_with_time_left

ANYTHING = "00000000-0000-4000-8000-000000000000"
OPENED_BY = {
    "agents": [("POST", "/agents/execute"), ("GET", "/providers"), ("GET", "/runs"), ("GET", f"/runs/{ANYTHING}")],
    "chains": [
        ("GET", "/chains"),
        ("GET", "/providers"),
        ("POST", "/chains/execute"),
        ("GET", "/runs"),
        ("GET", f"/runs/{ANYTHING}"),
    ],
    "rag": [("POST", "/rag/search"), ("POST", "/rag/index"), ("GET", "/rag/repositories")],
    "billing:read": [("GET", "/billing/usage")],
    "keys": [
        ("GET", "/api-keys"),
        ("PUT", "/providers/openai/key"),
        ("DELETE", "/providers/openai/key"),
        ("DELETE", f"/api-keys/{ANYTHING}"),
    ],
}
ROUTES = sorted({route for routes in OPENED_BY.values() for route in routes})


@pytest.mark.parametrize("scope", ALL)
def test_each_scope_opens_its_own_routes(api: Api, bob: Any, scope: str) -> None:
    headers = api.with_key(bob, scope)
    for method, path in ROUTES:
        response = api.request(method, path, headers=headers)
        opened = (method, path) in OPENED_BY[scope]
        assert (response.status_code != 403) is opened, (method, path, response.text)
        if not opened:
            body = response.json()
            assert error(response) == (403, "scope_missing")
            assert body["scopes"] == [scope] and scope not in body["required"]


def test_every_key_can_read_its_account(api: Api, bob: Any) -> None:
    for scope in ALL:
        assert api.get("/auth/me", headers=api.with_key(bob, scope)).status_code == 200
        ApiKey.objects.all().delete()


def test_a_token_needs_no_scope(api: Api, bob: Any) -> None:
    for method, path in ROUTES:
        assert api.request(method, path, headers=api.as_(bob)).status_code != 403


def test_a_refused_request_counts_for_the_rate_limit(api: Api, make_user: Any) -> None:
    headers = api.with_key(user_with_time_left(make_user), "rag")
    assert api.get("/chains", headers=headers).headers["X-RateLimit-Remaining"] == "59"
    assert api.get("/chains", headers=headers).headers["X-RateLimit-Remaining"] == "58"


def test_a_full_window_comes_before_the_scope(api: Api, make_user: Any) -> None:
    headers = api.with_key(user_with_time_left(make_user), "rag")
    statuses = [api.get("/chains", headers=headers).status_code for _ in range(61)]
    assert statuses == [403] * 60 + [429]


def test_every_protected_view_names_its_scopes() -> None:
    """A view without `scopes` refuses all keys, which may be a mistake."""
    views = {
        getattr(pattern.callback, "cls", None)
        for pattern in get_resolver().url_patterns
        if hasattr(pattern, "callback")
    }
    forgotten = [
        view for view in views if view and AllowAny not in view.permission_classes and not hasattr(view, "scopes")
    ]
    assert forgotten == []


class TestKeysThatMakeKeys:
    def test_they_give_what_they_have(self, api: Api, alice: Any) -> None:
        headers = api.with_key(alice, "keys", "rag")
        made = api.post("/api-keys", json={"scopes": ["rag"]}, headers=headers)
        assert made.status_code == 201 and made.json()["data"]["scopes"] == ["rag"]

    def test_they_cannot_give_more(self, api: Api, alice: Any) -> None:
        headers = api.with_key(alice, "keys", "rag")
        assert error(api.post("/api-keys", json={"scopes": ["agents"]}, headers=headers)) == (403, "scope_missing")
        assert ApiKey.objects.count() == 1

    def test_by_default_they_give_of_the_usual_what_they_have(self, api: Api, alice: Any) -> None:
        made = api.post("/api-keys", json={}, headers=api.with_key(alice, "keys", "rag"))
        assert made.json()["data"]["scopes"] == ["rag"]
        only_keys = api.post("/api-keys", json={}, headers=api.with_key(alice, "keys"))
        assert error(only_keys) == (403, "scope_missing")

    def test_what_they_make_does_not_outlive_them(self, api: Api, alice: Any) -> None:
        end = datetime.now(UTC) + timedelta(hours=1)
        headers = api.with_key(alice, "keys", "rag", expires_at=end)
        api.post("/api-keys", json={"scopes": ["rag"]}, headers=headers)
        later = (end + timedelta(days=9)).isoformat()
        api.post("/api-keys", json={"scopes": ["rag"], "expiresAt": later}, headers=headers)
        assert set(ApiKey.objects.values_list("expires_at", flat=True)) == {end}


def test_the_socket_requires_the_scope(api: Api, alice: Any, upstream: Upstream) -> None:
    run_id = api.execute(alice).headers["X-Run-Id"]
    url = str(api.base_url).replace("http", "ws")
    with connect(f"{url}/ws/runs/{run_id}", additional_headers=api.with_key(alice, "rag")) as socket:
        assert "scope_missing" in str(socket.recv())
        with pytest.raises(ConnectionClosed) as closed:
            socket.recv()
    assert closed.value.rcvd and closed.value.rcvd.code == 4403


def test_a_key_cannot_replay_its_owners_request(api: Api, alice: Any) -> None:
    """A replay of the owner's request would return a key with more scopes than the key has."""
    again = {"Idempotency-Key": "create-ci-key"}
    body = {"scopes": ["keys"]}
    first = api.post("/api-keys", json=body, headers={**api.as_(alice), **again})
    second = api.post("/api-keys", json=body, headers={**api.with_key(alice, "keys"), **again})
    assert first.status_code == 201
    assert error(second) == (409, "idempotency_conflict")
