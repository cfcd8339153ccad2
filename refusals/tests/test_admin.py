"""Refused requests in the admin: found by person, key, request and code; read-only."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.test import Client

from refusals import codes
from refusals.models import RETENTION, Refusal

PATH = "/admin/refusals/refusal/"


@pytest.fixture
def staff_client(make_user: Any, settings: Any) -> Client:
    settings.STAFF_SECOND_FACTOR = False
    client = Client()
    user = make_user("staff", is_staff=True, is_superuser=True)
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    return client


def add(user: Any, **fields: Any) -> Refusal:
    usual = {"minute": datetime.now(UTC), "code": "quota_exceeded", "count": 3, "message": "All is used."}
    return Refusal.objects.create(user=user, **usual | fields)


def shown(client: Client, query: str = "") -> str:
    response = client.get(f"{PATH}?{query}")
    assert response.status_code == 200
    return response.content.decode()


def test_it_works(staff_client: Client, alice: Any) -> None:
    key_id = uuid4()
    row = add(alice, key_id=key_id, key_prefix="lnos_live_12345678", first_request_id="r1", last_request_id="r3")
    page = shown(staff_client)
    for text in ("quota_exceeded", "All is used.", alice.email, "lnos_live_12345678…"):
        assert text in page, text
    assert f"/admin/apikeys/apikey/{key_id}/change/" in page
    detail = staff_client.get(f"{PATH}{row.pk}/change/").content.decode()
    assert "/admin/find/?q=r1" in detail and "/admin/find/?q=r3" in detail


def test_they_are_found(staff_client: Client, alice: Any, bob: Any) -> None:
    add(alice, key_prefix="lnos_live_12345678", first_request_id="r1", last_request_id="r3")
    add(bob, code="pro_required")
    for term in (alice.email, "r1", "r3", "lnos_live_12345678"):
        page = shown(staff_client, f"q={term}")
        assert alice.email in page and bob.email not in page, term
    assert alice.email not in shown(staff_client, "code=pro_required")
    assert bob.email not in shown(staff_client, f"user__id__exact={alice.pk}")


def test_old_ones_are_not_shown(staff_client: Client, alice: Any) -> None:
    row = add(alice, minute=datetime.now(UTC) - RETENTION - timedelta(minutes=1))
    assert alice.email not in shown(staff_client)
    assert staff_client.get(f"{PATH}{row.pk}/change/").status_code == 302


def test_they_are_read_only(staff_client: Client, alice: Any) -> None:
    row = add(alice)
    assert staff_client.get(f"{PATH}add/").status_code == 403
    assert staff_client.post(f"{PATH}{row.pk}/delete/", {"post": "yes"}).status_code == 403


def test_the_codes_are_these() -> None:
    assert codes.list_codes() == [
        *("api_key_invalid", "backlog_full", "concurrency_limit_reached", "email_not_verified", "key_limit_reached"),
        *("pro_required", "provider_key_unreadable", "provider_not_configured", "quota_exceeded", "rate_limited"),
        *("scope_missing", "spend_limit_reached", "storage_limit_reached"),
    ]
