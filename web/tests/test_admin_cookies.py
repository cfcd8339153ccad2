"""Cookies of the admin and their attributes."""

import re
from http.cookies import Morsel, SimpleCookie
from typing import Any

import httpx
import pytest

from testing.client import PASSWORD, Api
from testing.servers import daphne


def cookies(response: httpx.Response) -> "dict[str, Morsel[str]]":
    found: SimpleCookie = SimpleCookie()
    for header in response.headers.get_list("Set-Cookie"):
        found.load(header)
    return dict(found)


def signed_in(client: httpx.Client, user: Any, **headers: str) -> "dict[str, Morsel[str]]":
    """All cookies of a login, by hand: clients keep no https cookies on the loopback."""
    page = client.get("/admin/login/", headers=headers)
    token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page.text)
    assert token
    form = {"username": user.email, "password": PASSWORD, "csrfmiddlewaretoken": token[1], "next": "/admin/"}
    sent = {**headers, "Cookie": f"csrftoken={cookies(page)['csrftoken'].value}"}
    response = client.post("/admin/login/", data=form, headers=sent)
    assert response.status_code == 302, response.text
    return cookies(page) | cookies(response)


@pytest.fixture
def admin(make_user: Any) -> Any:
    return make_user("staff", is_staff=True, is_superuser=True)


def test_over_https(database: None, admin: Any, tmp_path: Any) -> None:
    """Behind a proxy that ends TLS, as in production."""
    changes = {
        "LUNAOS_PUBLIC_URL": "https://lunaos.example.com",
        "DJANGO_ALLOWED_HOSTS": "lunaos.example.com,127.0.0.1",
        "LUNAOS_TRUSTED_PROXIES": "1",
    }
    sent = {"Host": "lunaos.example.com", "X-Forwarded-Proto": "https", "Referer": "https://lunaos.example.com/admin/"}
    with daphne(tmp_path / "web.log", **changes) as url, httpx.Client(base_url=url) as client:
        given = signed_in(client, admin, **sent)
    assert set(given) == {"sessionid", "csrftoken"}
    assert all(each["secure"] and each["httponly"] and each["samesite"] == "Lax" for each in given.values())


def test_a_session_ends_with_the_browser_and_after_a_working_day(api: Api, admin: Any) -> None:
    from django.contrib.sessions.models import Session
    from django.utils import timezone

    with httpx.Client(base_url=api.base_url) as client:
        session = signed_in(client, admin)["sessionid"]
    assert session["httponly"] and not session["expires"] and not session["max-age"]
    expires = Session.objects.get(pk=session.value).expire_date
    assert 9 < (expires - timezone.now()).total_seconds() / 3600 <= 10


def test_the_api_sets_none(api: Api, alice: Any) -> None:
    for path in ("/", "/status", "/health", "/auth/me", "/docs", "/docs/api", "/llms.txt", "/openapi.json", "/nowhere"):
        assert "Set-Cookie" not in api.get(path, headers=api.as_(alice)).headers
