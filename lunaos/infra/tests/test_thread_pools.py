"""All routes and their thread pools; list a new route here."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.urls import URLPattern, get_resolver

from lunaos.asgi import SharedThreadsHandler
from lunaos.infra.thread_pools import Pool, get_middleware_pool, get_pool

SHARED = """
    GET / · GET /checkout/cancelled · GET /pricing
    GET /confirm-email · POST /confirm-email · GET /confirm-email/again · POST /confirm-email/again
    GET /forgot-password · POST /forgot-password · GET /reset-password
    GET /openapi.json · GET /docs · GET /docs/api · GET /docs/search · GET /docs/<path:name> · GET /llms.txt
    GET /auth/me · GET /auth/export · GET /auth/activity · POST /auth/logout · POST /auth/logout-all
    POST /auth/verify · POST /auth/verify/resend · POST /auth/password/forgot
    GET /api-keys · POST /api-keys · POST /api-keys/revoke-leaked · DELETE /api-keys/<uuid:pk>
    GET /api-keys/<uuid:pk>/usage
    GET /billing/plans · GET /billing/subscription · GET /billing/usage
    GET /agents/list · POST /agents/execute · GET /providers
    PUT /providers/<str:name>/key · DELETE /providers/<str:name>/key
    GET /chains · POST /chains/execute
    POST /rag/index · POST /rag/search · GET /rag/repositories · DELETE /rag/repositories/<path:name>
    GET /rag/jobs/<uuid:pk> · GET /rag/jobs/<uuid:pk>/events
    GET /runs · GET /runs/<uuid:pk> · POST /runs/<uuid:pk>/cancel · GET /runs/<uuid:pk>/events
    POST /runs/<uuid:pk>/resume
"""
HASHING = """
    POST /auth/signup · POST /auth/login · DELETE /auth/me · POST /auth/password/change · POST /auth/password/reset
    POST /reset-password
"""
STRIPE = """
    GET /checkout/done · GET /portal · POST /portal · GET /pay · POST /pricing
    POST /billing/checkout · POST /billing/change · POST /billing/cancel · POST /billing/resume · POST /billing/portal
"""
WEBHOOK = "POST /billing/webhook"
PROBES = {
    "GET /ready": Pool.READY,
    "GET /health": Pool.HEALTH,
    "GET /status": Pool.STATUS,
    "GET /metrics": Pool.METRICS,
}
LISTED = PROBES | {
    route.strip(): pool
    for pool, lines in ((Pool.SHARED, SHARED), (Pool.HASHING, HASHING), (Pool.STRIPE, STRIPE), (Pool.WEBHOOK, WEBHOOK))
    for line in lines.strip().split("\n")
    for route in line.split("·")
}
OF_THE_ADMIN = {
    "/admin/login/": Pool.HASHING,
    "/admin/password_change/": Pool.HASHING,
    "/admin/accounts/user/add/": Pool.HASHING,
    "/admin/accounts/user/<id>/password/": Pool.HASHING,
    "/admin/accounts/user/": Pool.STRIPE,
    "/admin/accounts/user/<path:object_id>/delete/": Pool.STRIPE,
}
METHODS = ("GET", "POST", "PUT", "DELETE")


def views(resolver: Any, prefix: str = "/") -> Iterator[tuple[str, Callable[..., Any]]]:
    for pattern in resolver.url_patterns:
        path = prefix + str(pattern.pattern)
        if isinstance(pattern, URLPattern):
            yield path, pattern.callback
        else:
            yield from views(pattern, path)


def methods_of(view: Any) -> list[str]:
    handlers = getattr(view, "actions", None) or [name for name in METHODS if hasattr(view.cls, name.lower())]
    return [method for method in map(str.upper, handlers) if method != "HEAD"]


def test_every_route_of_the_api_is_listed_with_its_pool() -> None:
    found = {
        f"{method} {path}": get_pool(view, method)
        for path, view in views(get_resolver())
        if hasattr(view, "cls")
        for method in methods_of(view)
    }
    assert found == LISTED


def test_pools_of_posts_to_the_admin() -> None:
    posts = {path: get_pool(view, "POST") for path, view in views(get_resolver()) if path.startswith("/admin/")}
    assert {path: pool for path, pool in posts.items() if pool is not Pool.SHARED} == OF_THE_ADMIN
    assert {get_pool(view, "GET") for path, view in views(get_resolver()) if path in OF_THE_ADMIN} == {Pool.SHARED}


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_head_runs_where_get_does(method: str) -> None:
    view = dict(views(get_resolver()))["/checkout/done"]
    assert get_pool(view, method) is Pool.STRIPE


def test_there_is_a_pool_of_each_name() -> None:
    assert set(SharedThreadsHandler.pools) == set(Pool)


@pytest.mark.parametrize(
    ("path", "pool"),
    [
        ("/ready", Pool.READY),
        ("/health", Pool.HEALTH),
        ("/status", Pool.STATUS),
        ("/metrics", Pool.METRICS),
        ("/static/web/favicon.svg", Pool.FILES),
        ("/auth/login", Pool.SHARED),
        ("/auth/me", Pool.SHARED),
        ("/no/such/path", Pool.SHARED),
    ],
)
def test_pools_of_middleware(path: str, pool: Pool) -> None:
    assert get_middleware_pool(path, "GET") is pool
