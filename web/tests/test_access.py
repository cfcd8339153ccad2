"""Access: every route of the URL configuration with every kind of credential.

Named after what the review of the product before this one found open: routes without authentication, tiers baked into
tokens, revoked and expired credentials that went on, other people's objects.
"""

import time
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest

from accounts.models import User
from accounts.signin import jwt as tokens
from apikeys.models import ApiKey
from lunaos.api.middleware import SECURITY_HEADERS
from lunaos.scopes import ALL
from rag.models import IndexJob
from testing import routes
from testing.client import Api, error
from testing.loopback.upstream import Upstream
from testing.routes import Route
from testing.servers import daphne

Headers = dict[str, str]
PUBLIC = {
    "POST /auth/signup",
    "POST /auth/login",
    "POST /auth/verify",
    "POST /auth/password/forgot",
    "POST /auth/password/reset",
    "GET /agents/list",
    "GET /billing/plans",
    "POST /api-keys/revoke-leaked",
}
ROUTES = routes.protected_routes()
every_route = pytest.mark.parametrize("route", ROUTES, ids=str)


def bearer(value: str) -> Headers:
    return {"Authorization": f"Bearer {value}"}


def forged(user: Any, **changes: Any) -> Headers:
    """Return a token of the user with other claims or another signature."""
    secret = changes.pop("secret", next(iter(tokens._keys().values())))
    algorithm = changes.pop("algorithm", "HS256")
    claims = jwt.decode(tokens.issue(user), options={"verify_signature": False}) | changes
    return bearer(jwt.encode(claims, secret, algorithm=algorithm, headers={"kid": "default"}))


def assert_framed(response: httpx.Response) -> None:
    """Require the contract's headers on every response, also of errors."""
    headers = response.headers
    assert headers["Content-Security-Policy"] == "default-src 'none'; frame-ancestors 'none'"
    assert {name: headers[name] for name in SECURITY_HEADERS} == SECURITY_HEADERS
    assert all(int(headers[f"X-RateLimit-{name}"]) >= 0 for name in ("Limit", "Remaining", "Reset"))
    assert headers["X-Request-Id"] and headers["Server-Timing"].startswith("total;dur=")
    assert "Server" not in headers


def disabled(api: Api, user: Any, headers: Headers) -> Headers:
    User.objects.filter(pk=user.pk).update(is_active=False)
    return headers


def deleted(api: Api, user: Any, headers: Headers) -> Headers:
    user.delete()
    return headers


def with_new_password(api: Api, user: Any) -> Headers:
    headers = api.as_(user)
    user.set_password("another horse 43 battery")
    user.save()
    return headers


CREDENTIALS: dict[str, tuple[str, Callable[[Api, Any], Headers]]] = {
    "none": ("not_authenticated", lambda api, user: {}),
    "garbage": ("token_invalid", lambda api, user: bearer("garbage")),
    "another scheme": ("token_invalid", lambda api, user: {"Authorization": "Basic YTpi"}),
    "no value": ("token_invalid", lambda api, user: {"Authorization": "Bearer"}),
    "expired token": ("token_expired", lambda api, user: forged(user, exp=int(time.time()) - 1)),
    "forged token": ("token_invalid", lambda api, user: forged(user, secret="x" * 32)),
    "unsigned token": ("token_invalid", lambda api, user: forged(user, secret=None, algorithm="none")),
    "token of nobody": ("token_invalid", lambda api, user: forged(user, sub=str(uuid.uuid4()))),
    "token of before a new password": ("token_invalid", with_new_password),
    "token of a disabled owner": ("token_invalid", lambda api, user: disabled(api, user, api.as_(user))),
    "token of a deleted owner": ("token_invalid", lambda api, user: deleted(api, user, api.as_(user))),
    "unknown key": ("api_key_invalid", lambda api, user: bearer("lnos_live_" + "0" * 32)),
    "garbage key": ("api_key_invalid", lambda api, user: bearer("lnos_live_x")),
    "expired key": ("api_key_invalid", lambda api, user: api.with_key(user, expires_at=datetime.now(UTC))),
    "revoked key": ("api_key_invalid", lambda api, user: api.with_key(user, revoked_at=datetime.now(UTC))),
    "key of a disabled owner": ("api_key_invalid", lambda api, user: disabled(api, user, api.with_key(user))),
    "key of a deleted owner": ("api_key_invalid", lambda api, user: deleted(api, user, api.with_key(user))),
}


def test_the_public_routes_are_these() -> None:
    """A route that asks for no credentials is a decision, recorded here."""
    assert {str(route) for route in routes.all_routes() if route.public} == PUBLIC
    assert len(ROUTES) > 15


@pytest.mark.parametrize("credential", CREDENTIALS)
def test_broken_authentication(api: Api, make_user: Any, upstream: Upstream, credential: str) -> None:
    code, make = CREDENTIALS[credential]
    headers = make(api, make_user("dora", tier="team"))
    for route in ROUTES:
        response = api.request(route.method, route.path, headers=headers)
        assert error(response) == (401, code), route
        assert response.headers["WWW-Authenticate"] == "Bearer", route
        assert_framed(response)
    assert upstream.requests == []


@pytest.mark.parametrize("route", [route for route in ROUTES if set(route.scopes) != set(ALL)], ids=str)
def test_missing_scope(api: Api, carol: Any, upstream: Upstream, route: Route) -> None:
    lacking = [scope for scope in ALL if scope not in route.scopes]
    response = api.request(route.method, route.path, headers=api.with_key(carol, *lacking), json={})
    assert error(response) == (403, "scope_missing")
    assert_framed(response)
    assert response.json()["required"] == list(route.scopes)
    assert upstream.requests == []


@pytest.fixture
def alices(api: Api, alice: Any, upstream: Upstream) -> dict[str, str]:
    """One object of each kind, by the routes that lead to it."""
    run_id = api.execute(alice).headers["X-Run-Id"]
    api.post("/rag/index", json={"files": [{"path": "a.py", "content": "a = 1"}]}, headers=api.as_(alice))
    api.with_key(alice)
    return {
        "runs": run_id,
        "rag/repositories": "default",
        "rag/jobs": str(IndexJob.objects.filter(repository__user=alice).values_list("pk", flat=True).first()),
        "api-keys": str(ApiKey.objects.get(user=alice).pk),
    }


@pytest.mark.local_model
def test_broken_object_level_authorization(
    api: Api, alice: Any, charlie: Any, alices: dict[str, str], upstream: Upstream
) -> None:
    """Another user's object is 404 as a missing one, by token and by key."""
    seen = set()
    for route in ROUTES:
        kind, _, rest = route.template.partition("/<")
        if not rest or kind == "providers":  # which are everybody's, by name; keys for them are the asking user's own
            continue
        seen.add(kind)
        path = f"/{kind}/{alices[kind]}{rest.partition('>')[2]}"
        for headers in (api.as_(charlie), api.with_key(charlie, *ALL)):
            assert api.request(route.method, path, headers=headers).status_code == 404, route
        ApiKey.objects.filter(user=charlie).delete()
    assert seen == set(alices)
    for path, plural in (("/runs", "runs"), ("/rag/repositories", "repositories"), ("/api-keys", "keys")):
        assert api.get(path, headers=api.as_(charlie)).json()["data"][plural] == []
        assert len(api.get(path, headers=api.as_(alice)).json()["data"][plural]) == 1


def test_tier_baked_into_the_token(api: Api, make_user: Any, upstream: Upstream) -> None:
    """A token of the time as pro gives nothing to a free user."""
    dora = make_user("dora", tier="pro")
    headers = api.as_(dora)
    body = {"agent": "seo", "context": "x"}
    assert api.post("/agents/execute", json=body, headers=headers).status_code == 200
    User.objects.filter(pk=dora.pk).update(tier="free")
    for each in (headers, forged(dora, tier="team")):
        refused = api.post("/agents/execute", json=body, headers=each)
        assert error(refused) == (403, "pro_required")
        assert refused.headers["X-RateLimit-Limit"] == "60"


def test_details_hidden(api: Api, alice: Any) -> None:
    """Nothing that a developer would want to see is in any answer."""
    for route in ROUTES:
        alice.refresh_from_db()  # some routes end sessions
        response = api.request(route.method, route.path, headers=api.as_(alice), content=b"{")
        shown = [sign for sign in ("Traceback", 'File "', "psycopg", "django") if sign in response.text]
        assert not shown, route
        if response.headers["Content-Type"] == "application/json":
            assert "detail" not in response.json(), route


@pytest.fixture(scope="module")
def without_database(django_db_setup: None, django_db_blocker: Any, tmp_path_factory: Any) -> Iterator[Api]:
    log: Path = tmp_path_factory.mktemp("down") / "web.log"
    nowhere = {"DATABASE_URL": "postgres://lunaos@//nonexistent/lunaos"}
    with (
        django_db_blocker.unblock(),
        daphne(log, "/openapi.json", **nowhere) as url,
        Api(base_url=url, timeout=30) as client,
    ):
        yield client


@every_route
def test_infrastructure_down_is_no_401(api: Api, carol: Any, without_database: Api, route: Route) -> None:
    for headers in (api.as_(carol), api.with_key(carol, *ALL)):
        response = without_database.request(route.method, route.path, headers=headers)
        assert error(response) == (503, "service_unavailable")
        assert_framed(response)
        assert int(response.headers["Retry-After"]) > 0


def test_an_expired_key_gets_the_same_code_as_an_unknown_one(api: Api, alice: Any) -> None:
    """The reason differs: only the owner of a key has its 128 random bits."""
    moment = datetime.now(UTC) - timedelta(days=1)
    answers: list[httpx.Response] = [
        api.get("/auth/me", headers=headers)
        for headers in (bearer("lnos_live_" + "0" * 32), api.with_key(alice, expires_at=moment))
    ]
    assert error(answers[0]) == error(answers[1]) == (401, "api_key_invalid")
    assert [each.json()["reason"] for each in answers] == ["unknown", "expired"]
