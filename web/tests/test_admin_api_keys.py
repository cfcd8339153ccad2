"""A key's page in the admin answers why the key stopped."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.test import Client

from accounts.models import AuditEvent, User
from apikeys import services
from apikeys.models import ApiKey, ApiKeyAddress
from refusals.models import Refusal
from runs.tests.test_stats import add_run
from web.tests.test_admin_queries import FEW, queries, staff_client

__all__ = ["staff_client"]


@pytest.fixture
def key(alice: Any) -> ApiKey:
    return services.create(user=alice, name="CI").key


def url(key: ApiKey, page: str = "change") -> str:
    return f"/admin/apikeys/apikey/{key.pk}/{page}/"


def permissions(*codenames: str) -> list[Permission]:
    return list(Permission.objects.filter(content_type__app_label="apikeys", codename__in=codenames))


def read(client: Client, key: ApiKey) -> str:
    response = client.get(url(key))
    assert response.status_code == 200
    return " ".join(response.content.decode().split())


def refuse(key: ApiKey, n: int = 0, **fields: Any) -> Refusal:
    minute = datetime.now(UTC).replace(second=0, microsecond=0) - timedelta(minutes=n)
    usual = {"code": "scope_missing", "message": "This key lacks the scope chains.", "count": 7}
    return Refusal.objects.create(user=key.user, key_id=key.pk, minute=minute, last_request_id="r7", **usual | fields)


def test_it_works(staff_client: Client, key: ApiKey) -> None:
    """A key that works, with its uses, refusals, runs and figures."""
    ApiKey.objects.filter(pk=key.pk).update(last_used_at=datetime.now(UTC))
    ApiKeyAddress.objects.create(key=key, network="203.0.113.7")
    refusal = refuse(key)
    now = datetime.now(UTC)
    run = add_run(
        key.user, now, api_key_id=key.pk, api_key_prefix=key.prefix, input_tokens=900, output_tokens=100, cost_usd="1.5"
    )
    add_run(key.user, now, agent="another-agent")
    page = read(staff_client, key)
    assert "The key works." in page and "203.0.113.7" in page and key.digest not in page
    assert f"/admin/refusals/refusal/{refusal.pk}/change/" in page and "This key lacks the scope chains." in page
    assert "/admin/find/?q=r7" in page
    assert f"/admin/runs/run/{run.pk}/change/" in page and "another-agent" not in page
    for figure in ("<dt>Runs this month</dt><dd", ">1,000</dd>", ">$1.50</dd>"):
        assert figure in page
    assert f"/admin/runs/run/?api_key_id={key.pk}" in page
    assert str(run.pk) in staff_client.get(f"/admin/runs/run/?api_key_id={key.pk}").content.decode()
    assert key.prefix in staff_client.get(f"/admin/runs/run/{run.pk}/change/").content.decode()


def test_its_owner_revoked_it(staff_client: Client, key: ApiKey) -> None:
    services.revoke(user=key.user, key_id=key.pk)
    page = read(staff_client, key)
    event = AuditEvent.objects.get(action="key.revoked", subject_id=key.user_id)
    assert " by its owner (" in page and f"/admin/accounts/auditevent/{event.pk}/" in page
    assert "Revoke this key" not in page


def test_staff_revoke_it_there(staff_client: Client, key: ApiKey) -> None:
    page = read(staff_client, key)
    assert url(key, "revoke") in page
    form = {"_selected_action": str(key.pk), "back_to_page": "yes"}
    asked = staff_client.post(url(key, "revoke"), form).content.decode()
    assert "Revoke these API keys?" in asked and url(key) in asked
    assert ApiKey.objects.get().active
    done = staff_client.post(url(key, "revoke"), {**form, "confirmed": "yes"}, follow=True)
    assert done.redirect_chain == [(url(key), 302)] and "1 key is revoked." in done.content.decode()
    staff = User.objects.get(is_superuser=True)
    assert f" by staff: {staff.email} (" in read(staff_client, key)
    assert AuditEvent.objects.get(action="key.revoked", subject_id=key.user_id).actor_id == staff.pk


def test_it_was_reported_as_leaked(staff_client: Client, alice: Any) -> None:
    made = services.create(user=alice, name="CI")
    services.report_leaked(made.secret)
    assert "automatically, because someone reported it as leaked" in read(staff_client, made.key)


def test_it_was_revoked_with_all_access(staff_client: Client, key: ApiKey) -> None:
    services.revoke_all(ApiKey.objects.filter(pk=key.pk), actor=None)
    assert "automatically, together with all access to the account" in read(staff_client, key)


def test_the_audit_row_is_missing(staff_client: Client, key: ApiKey) -> None:
    ApiKey.objects.filter(pk=key.pk).update(revoked_at=datetime.now(UTC))
    assert "the audit trail does not say by whom" in read(staff_client, key)


def test_it_expired(staff_client: Client, key: ApiKey) -> None:
    ApiKey.objects.filter(pk=key.pk).update(expires_at=datetime.now(UTC) - timedelta(days=1))
    page = read(staff_client, key)
    assert "The key expired on " in page and "Revoke this key" not in page


def test_its_account_is_disabled(staff_client: Client, key: ApiKey) -> None:
    User.objects.filter(pk=key.user_id).update(is_active=False)
    assert "The account of the key is disabled" in read(staff_client, key)


def test_without_permissions(make_user: Any, key: ApiKey, settings: Any) -> None:
    """Staff who may only view keys see neither runs nor refusals, and revoke nothing."""
    settings.STAFF_SECOND_FACTOR = False
    refuse(key)
    add_run(key.user, api_key_id=key.pk)
    clerk, client = make_user("clerk", is_staff=True), Client()
    clerk.user_permissions.add(*permissions("view_apikey"))
    client.force_login(clerk, backend="django.contrib.auth.backends.ModelBackend")
    page = read(client, key)
    assert "The key works." in page and "Networks" in page
    assert "Refused requests" not in page and "Runs this month" not in page and "Revoke this key" not in page
    assert client.post(url(key, "revoke"), {"confirmed": "yes"}).status_code == 403
    assert ApiKey.objects.get().active


def test_a_key_of_staff(make_user: Any, settings: Any) -> None:
    """Only superusers revoke keys of staff."""
    settings.STAFF_SECOND_FACTOR = False
    key = services.create(user=make_user("chief", is_staff=True, is_superuser=True), name="CI").key
    clerk, client = make_user("clerk", is_staff=True), Client()
    clerk.user_permissions.add(*permissions("view_apikey", "revoke_apikey"))
    client.force_login(clerk, backend="django.contrib.auth.backends.ModelBackend")
    assert "Revoke this key" not in read(client, key)
    client.post(url(key, "revoke"), {"confirmed": "yes"})
    assert ApiKey.objects.get().active


def test_a_page_takes_a_fixed_number_of_queries(staff_client: Client, key: ApiKey) -> None:
    def add(n: int) -> None:
        refuse(key, n)
        add_run(key.user, api_key_id=key.pk)
        ApiKeyAddress.objects.create(key=key, network=f"203.0.113.{n}")

    for n in range(FEW):
        add(n)
    before = queries(staff_client, url(key))
    for n in range(FEW, 15):
        add(n)
    assert queries(staff_client, url(key)) == before <= 15
