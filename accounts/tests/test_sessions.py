"""POST /auth/logout, POST /auth/logout-all."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.auditlog.trail import Action
from accounts.models import AuditEvent, RevokedToken, User
from accounts.signin import jwt
from testing.client import PASSWORD, Api, error
from testing.servers import daphne


@pytest.fixture(scope="module")
def second_url(django_db_setup: None, django_db_blocker: Any, folder: Path) -> Iterator[str]:
    with django_db_blocker.unblock(), daphne(folder / "second.log") as url:
        yield url


def status(api: httpx.Client | Api, headers: dict[str, str]) -> int:
    return api.get("/auth/me", headers=headers).status_code


def test_it_works(api: Api, alice: Any) -> None:
    here, elsewhere = api.as_(alice), api.as_(alice)
    assert status(api, here) == 200
    assert api.post("/auth/logout", headers=here).json() == {"data": {"message": "Signed out."}}

    assert error(api.get("/auth/me", headers=here)) == (401, "token_invalid")
    assert status(api, elsewhere) == 200
    assert AuditEvent.objects.get(action=Action.LOGGED_OUT, subject_id=alice.pk).actor_id == alice.pk


def test_the_end_holds_in_every_process_at_once(api: Api, alice: Any, second_url: str) -> None:
    headers = api.as_(alice)
    with httpx.Client(base_url=second_url) as second:
        assert status(second, headers) == 200  # and remembers that the token is genuine
        api.post("/auth/logout", headers=headers)
        assert status(second, headers) == 401


def test_the_same_token_cannot_end_twice(api: Api, alice: Any) -> None:
    headers = api.as_(alice)
    api.post("/auth/logout", headers=headers)
    assert error(api.post("/auth/logout", headers=headers)) == (401, "token_invalid")


def test_a_request_without_a_token_cannot_sign_out(api: Api, database: None) -> None:
    assert error(api.post("/auth/logout")) == (401, "not_authenticated")
    assert error(api.post("/auth/logout-all")) == (401, "not_authenticated")


def test_everywhere(api: Api, alice: Any, bob: Any) -> None:
    sessions, stranger = [api.as_(alice) for _ in range(3)], api.as_(bob)
    assert api.post("/auth/logout-all", headers=sessions[0]).status_code == 200

    assert [status(api, headers) for headers in sessions] == [401] * 3
    assert status(api, stranger) == 200
    form = {"email": alice.email, "password": PASSWORD}
    token = api.post("/auth/login", json=form).json()["data"]["token"]
    assert status(api, {"Authorization": f"Bearer {token}"}) == 200


def test_everywhere_means_the_admin_too(api: Api, staff: httpx.Client) -> None:
    user = User.objects.get(is_staff=True)
    assert staff.get("/admin/accounts/user/").url.path == "/admin/accounts/user/"
    api.post("/auth/logout-all", headers=api.as_(user))
    assert staff.get("/admin/accounts/user/").url.path == "/admin/login/"


def test_authentication_is_one_query(alice: Any) -> None:
    raw = jwt.issue(alice)
    with CaptureQueriesContext(
        connection,
    ) as queries:
        assert jwt.authenticate(raw) == alice
    assert len(queries) == 1


def test_revocations_of_expired_tokens_are_deleted(alice: Any) -> None:
    jwt.revoke(jwt.issue(alice))
    jwt.delete_expired()
    assert RevokedToken.objects.filter(user=alice).count() == 1
    RevokedToken.objects.filter(user=alice).update(expires_at=datetime.now(UTC) - timedelta(seconds=1))
    jwt.delete_expired()
    assert not RevokedToken.objects.filter(user=alice).exists()
