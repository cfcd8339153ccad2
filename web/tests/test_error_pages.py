"""A browser gets an error page; the API and other clients get the error object."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from django.contrib.auth.models import Permission

from lunaos.api.middleware import SECURITY_HEADERS
from testing import routes
from testing.client import PASSWORD, Api, error
from testing.servers import daphne
from testing.windows import address_with_time_left
from web.tests.test_landing import words

BROWSER = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"}
JSON = {"Accept": "application/json"}


def assert_page(response: httpx.Response, status: int, title: str) -> None:
    """Return a page in the design, in the frame of all responses."""
    assert response.status_code == status
    assert response.headers["Content-Type"] == "text/html; charset=utf-8"
    assert f"Error {status} {title}" in words(response)
    assert response.headers["X-Request-Id"] in response.text
    assert "no-store" in response.headers["Cache-Control"]
    assert "script-src 'self'" in response.headers["Content-Security-Policy"]
    assert {name: response.headers[name] for name in SECURITY_HEADERS} == SECURITY_HEADERS
    assert int(response.headers["X-RateLimit-Limit"]) == 60
    assert "Traceback" not in response.text and "<style" not in response.text


@pytest.mark.parametrize("path", ["/nowhere", "/status/x", "/docs/x", "/agent", "/a/b/c.html", "/%F0%9F%8C%99"])
def test_it_works(api: Api, path: str) -> None:
    response = api.get(path, headers=BROWSER)
    assert_page(response, 404, "Page not found")
    assert "Accept" in response.headers["Vary"] and "Set-Cookie" not in response.headers


@pytest.mark.parametrize(
    ("path", "status", "title"),
    [
        ("accounts/user/?tier=%00", 400, "Bad request"),
        ("runs/run/?status__exact=%00", 400, "Bad request"),
        ("djstripe/invoice/?q=a%00b", 400, "Bad request"),
        ("billing/tier/%00/change/", 404, "Page not found"),
    ],
)
def test_a_nul_in_the_admin(api: Api, staff: httpx.Client, path: str, status: int, title: str) -> None:
    assert_page(staff.get(f"/admin/{path}", headers=BROWSER), status, title)


def test_a_nul_in_an_export(staff: httpx.Client) -> None:
    form = {"csrfmiddlewaretoken": staff.cookies["csrftoken"]}
    response = staff.post("/admin/accounts/user/export/?tier=%00", data=form, headers=BROWSER)
    assert_page(response, 400, "Bad request")


def test_a_nul_in_the_api(api: Api, alice: Any) -> None:
    headers = api.as_(alice) | BROWSER
    for query in ("/runs?status=%00", "/runs?cursor=%00", "/auth/activity?a=%00", "/health?%00"):
        assert error(api.get(query, headers=headers)) == (400, "bad_request"), query
    for path in ("/rag/repositories/a%00b", "/runs/%00", "/%00"):
        assert error(api.delete(path, headers=api.as_(alice))) == (404, "not_found"), path
    assert api.get("/runs?agent=%2500", headers=headers).status_code == 200


@pytest.mark.parametrize(
    "accept", ["*/*", "application/json", "application/json, text/html", "image/png", "", ";;q=x,,"]
)
def test_clients_that_do_not_prefer_html_get_json(api: Api, accept: str) -> None:
    response = api.get("/nowhere", headers={"Accept": accept})
    assert error(response) == (404, "not_found")
    assert f"no endpoint at {response.request.method} " in response.json()["error"]
    assert response.headers["Content-Security-Policy"] == "default-src 'none'; frame-ancestors 'none'"


def test_the_api_never_answers_with_a_page(api: Api, alice: Any) -> None:
    """Below every first part of the API's paths, known or unknown, by any method."""
    roots = {f"/{route.template.partition('/')[0]}" for route in routes.all_routes()}
    assert roots >= {"/auth", "/agents", "/chains", "/rag", "/runs", "/billing", "/api-keys", "/providers"}
    with api.from_address(address_with_time_left(60)) as client:
        for root in roots | {"/health", "/openapi.json", "//auth"}:
            response = client.get(f"{str(api.base_url).rstrip('/')}{root}/nowhere/at/all", headers=BROWSER)
            assert error(response) == (404, "not_found"), root
    for route in routes.protected_routes():
        response = api.request(route.method, route.path, headers={**BROWSER, "Authorization": "Bearer x"})
        assert error(response) == (401, "token_invalid"), route


def test_a_host_that_is_not_served(api: Api) -> None:
    evil = {"Host": "evil.example"}
    assert_page(api.get("/admin/login/", headers=BROWSER | evil), 400, "Bad request")
    assert error(api.get("/admin/login/", headers=JSON | evil)) == (400, "bad_request")
    refused = api.get("/agents/list", headers=BROWSER | evil)
    assert refused.status_code == 200 or error(refused) == (400, "bad_request")


def test_too_many_requests(api: Api) -> None:
    with api.from_address(address_with_time_left(60)) as client:
        for _ in range(60):
            client.get("/nowhere")
        response = client.get("/", headers=BROWSER)
        assert_page(response, 429, "Too many requests")
        assert int(response.headers["Retry-After"]) > 0
        assert error(client.get("/")) == (429, "rate_limited")
        assert_page(client.get("/docs/api"), 429, "Too many requests")


def test_in_the_admin(staff: httpx.Client) -> None:
    assert_page(staff.get("/admin/nowhere/", headers=BROWSER), 404, "Page not found")
    assert error(staff.get("/admin/nowhere/", headers=JSON)) == (404, "not_found")
    form = {"provider": "openai", "name": "x"}
    expired = staff.post("/admin/agents/languagemodel/add/", data=form, headers=BROWSER)
    assert_page(expired, 403, "This form has expired")
    assert error(staff.post("/admin/agents/languagemodel/add/", data=form, headers=JSON)) == (403, "forbidden")


def test_what_staff_may_not_see(staff: httpx.Client) -> None:
    from accounts.models import User

    support = User.objects.get(is_superuser=True)
    support.user_permissions.set(Permission.objects.filter(codename="view_run"))
    User.objects.filter(pk=support.pk).update(is_superuser=False)
    assert staff.get("/admin/runs/run/").status_code == 200
    assert_page(staff.get("/admin/agents/agent/", headers=BROWSER), 403, "No permission")


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


def test_what_fails_outside_the_frame(database: None, without_database: Api) -> None:
    """The admin without its database: the log has the exception, the page its id."""
    session = {"Cookie": "sessionid=abcdefghijklmnopqrstuvwxyz012345", "X-Request-Id": "asked-for-this"}
    response = without_database.get("/admin/", headers=BROWSER | session)
    assert_page(response, 503, "A part of the platform is down")
    assert "asked-for-this" in response.text
    assert not re.search("nonexistent|psycopg|OperationalError", response.text)
    assert error(without_database.get("/admin/", headers=JSON | session)) == (503, "service_unavailable")


def test_the_front_page_without_its_database(database: None, without_database: Api) -> None:
    assert_page(without_database.get("/", headers=BROWSER), 503, "A part of the platform is down")
    assert error(without_database.get("/")) == (503, "service_unavailable")


def test_a_login_form_is_no_oracle(api: Api, make_user: Any) -> None:
    """Without its token a form is refused before the password is looked at."""
    user = make_user("staff", is_staff=True)
    form = {"username": user.email, "password": PASSWORD}
    assert_page(api.post("/admin/login/", data=form, headers=BROWSER), 403, "This form has expired")
