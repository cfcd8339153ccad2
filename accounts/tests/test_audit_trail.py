"""The audit trail: rows with their client, chained by hashes; verification finds every change."""

import re
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from django.core.management import CommandError, call_command
from django.db import ProgrammingError, connection, transaction

from accounts.auditlog import trail
from accounts.auditlog.trail import Action
from accounts.models import AuditEvent, AuditOrigin
from lunaos.infra.client_info import ClientInfo
from testing.client import PASSWORD, Api


@pytest.fixture(autouse=True)
def empty_trail(database: None) -> None:
    """Each test's trail begins anew, which only the table's owner can bring about."""
    change("TRUNCATE accounts_auditevent, accounts_auditorigin")


def change(sql: str, *values: Any) -> None:
    """Change the trail as an owner of the database could, without the triggers."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")
        cursor.execute(sql, values)


def write(number: int) -> None:
    for n in range(number):
        trail.record_on_commit(Action.RUN_REFUSED, n=n)


def test_it_works(api: Api) -> None:
    new = {"email": "ann@example.com", "password": PASSWORD}
    response = api.post("/auth/signup", json=new, headers={"X-Request-Id": "sign-up-1", "User-Agent": "curl/8"})
    event = AuditEvent.objects.get()
    user_id = uuid.UUID(response.json()["data"]["user"]["id"])
    assert (event.id, event.action, event.request_id) == (1, "account.signed_up", "sign-up-1")
    assert event.actor_id == event.subject_id == user_id
    assert trail.client_info_of(event) == ClientInfo("127.0.0.1", "curl/8")
    assert trail.verify() == trail.VerificationResult(1, event.hash)


def test_each_row_has_the_hash_of_the_row_before(database: None) -> None:
    write(3)
    rows = list(AuditEvent.objects.order_by("id"))
    assert [row.id for row in rows] == [1, 2, 3]
    assert [row.previous_hash for row in rows] == [trail.GENESIS_HASH, rows[0].hash, rows[1].hash]


def test_parallel_writers_make_one_chain(database: None) -> None:
    def write_some(writer: int) -> None:
        for n in range(5):
            trail.record_on_commit(Action.RUN_REFUSED, writer=writer, n=n)
        connection.close()

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(write_some, range(40)))
    assert trail.verify().rows == 200 and trail.verify().broken is None


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE accounts_auditevent SET action = 'nothing'",
        "DELETE FROM accounts_auditevent",
        "TRUNCATE accounts_auditevent CASCADE",
        "UPDATE accounts_auditorigin SET address = '::1'",
        "TRUNCATE accounts_auditorigin",
    ],
)
def test_the_database_refuses_changes(api: Api, statement: str) -> None:
    api.post("/auth/signup", json={"email": "ann@example.com", "password": PASSWORD})
    with pytest.raises(ProgrammingError, match="append-only"), connection.cursor() as cursor:
        cursor.execute(statement)
    assert trail.verify().rows == 1


@pytest.mark.parametrize(
    ("statement", "broken", "reason"),
    [
        ("UPDATE accounts_auditevent SET details = '{\"n\": 7}' WHERE id = 2", 2, "content"),
        ("UPDATE accounts_auditevent SET at = at - interval '1 day' WHERE id = 2", 2, "content"),
        ("DELETE FROM accounts_auditevent WHERE id = 2", 3, "missing"),
        ("DELETE FROM accounts_auditevent WHERE id = 1", 2, "missing"),
        ("UPDATE accounts_auditevent SET hash = repeat('a', 64) WHERE id = 2", 2, "content"),
        ("UPDATE accounts_auditevent SET previous_hash = repeat('a', 64) WHERE id = 3", 3, "the row before it"),
    ],
)
def test_verification_finds_a_change_without_triggers(statement: str, broken: int, reason: str) -> None:
    write(4)
    change(statement)
    verdict = trail.verify()
    assert verdict.broken == broken and reason in verdict.reason
    with pytest.raises(CommandError, match=f"Row {broken} is broken"):
        call_command("verify_audit")


def test_verification_finds_changed_and_missing_addresses(api: Api) -> None:
    api.post("/auth/signup", json={"email": "ann@example.com", "password": PASSWORD})
    change("UPDATE accounts_auditorigin SET address = '10.0.0.1'")
    assert "user agent was changed" in trail.verify().reason
    AuditOrigin.objects.all().delete()
    assert "no account was deleted" in trail.verify().reason


def test_the_trail_verifies_after_accounts_are_deleted(api: Api, alice: Any) -> None:
    api.post("/auth/signup", json={"email": "ann@example.com", "password": PASSWORD})
    user_id = AuditEvent.objects.get().subject_id
    assert user_id
    trail.anonymise(user_id)
    change("UPDATE accounts_auditevent SET action = action")  # nothing
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO accounts_auditevent (action, subject_id, request_id, details, origin_digest) "
            "VALUES ('account.deleted', %s, '', '{}', '')",
            [user_id],
        )
    assert trail.verify().broken is None and AuditEvent.objects.count() == 2
    assert not AuditOrigin.objects.exists()


def test_an_earlier_head_shows_that_last_rows_are_missing(capsys: Any) -> None:
    write(3)
    head = trail.head()
    call_command("verify_audit", head=head)
    assert f"3 rows are as they were written. The trail ends at {head}." in capsys.readouterr().out
    change("DELETE FROM accounts_auditevent WHERE id = 3")
    call_command("verify_audit")  # which nothing in the rest can tell
    with pytest.raises(CommandError, match="not there any more"):
        call_command("verify_audit", head=head)


def test_a_rollback_discards_the_row(database: None) -> None:
    with transaction.atomic():
        write(1)
        transaction.set_rollback(True)
    assert not AuditEvent.objects.exists()


def test_a_request_succeeds_if_its_row_cannot_be_written(api: Api, folder: Path) -> None:
    change("ALTER TABLE accounts_auditevent RENAME TO elsewhere")
    try:
        response = api.post("/auth/signup", json={"email": "ann@example.com", "password": PASSWORD})
    finally:
        change("ALTER TABLE elsewhere RENAME TO accounts_auditevent")
    assert response.status_code == 201
    user_id = response.json()["data"]["user"]["id"]
    lines = (folder / "web.log").read_text().splitlines()
    alarm = next(line for line in lines if "audit_not_written" in line and user_id in line)
    assert '"level": "critical"' in alarm and "account.signed_up" in alarm


def test_staff_can_search(staff: httpx.Client, api: Api, alice: Any) -> None:
    trail.record_on_commit(Action.RUN_REFUSED, actor=alice, subject=alice, reason="quota_exceeded")
    trail.record_on_commit(Action.RATE_EXCEEDED)
    for term in (alice.email, str(alice.pk)):
        page = staff.get("/admin/accounts/auditevent/", params={"q": term}).text
        assert "quota_exceeded" in page and alice.email in page and "rate.exceeded</td>" not in page
    page = staff.get("/admin/accounts/auditevent/", params={"action": "rate.exceeded"}).text
    shown = re.findall(r">\s*([a-z]+\.[a-z_]+)\s*</td>", page)
    assert shown == ["rate.exceeded"]


def test_staff_cannot_change_it(staff: httpx.Client) -> None:
    write(1)
    pk = AuditEvent.objects.values_list("pk", flat=True).get(action="run.refused")
    page = staff.get(f"/admin/accounts/auditevent/{pk}/change/")
    assert page.status_code == 200 and 'name="_save"' not in page.text
    for path in ("add/", f"{pk}/delete/"):
        assert staff.get(f"/admin/accounts/auditevent/{path}").status_code == 403


def test_every_admin_is_audited(database: None) -> None:
    from django.contrib import admin

    from accounts.staff.audited_admin import AuditedAdmin

    assert [model for model, site in admin.site._registry.items() if not isinstance(site, AuditedAdmin)] == []


def test_a_change_in_the_admin_is_audited(staff: httpx.Client, alice: Any) -> None:
    page = staff.get(f"/admin/accounts/user/{alice.pk}/change/").text
    fields = dict(re.findall(r'name="(csrfmiddlewaretoken|email|name)" value="([^"]*)"', page))
    created = re.findall(r'name="(last_login_[01]|created_at_[01])" value="([^"]*)"', page)
    form = {**fields, **dict(created), "name": "Alicia", "is_active": "on"}
    assert staff.post(f"/admin/accounts/user/{alice.pk}/change/", data=form).status_code == 200
    event = AuditEvent.objects.get(action="admin.changed")
    assert event.subject_id == alice.pk and event.actor_id not in (None, alice.pk)
    assert event.details == {"object": f"accounts.user {alice.pk}", "fields": ["Name"]}
