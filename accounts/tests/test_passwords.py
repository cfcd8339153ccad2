"""POST /auth/password/forgot, /reset, /change."""

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from unittest.mock import patch

import httpx
import pytest
from celery import Task
from django.core import signing
from django.core.management import call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.auditlog.trail import Action
from accounts.errors import MailTokenInvalid
from accounts.models import AuditEvent, User
from accounts.signin import lockout, passwords, signed_tokens
from testing.client import PASSWORD, Api, error
from testing.mailbox import Mailbox, get_text, get_token
from testing.windows import address_with_time_left

NEW = "another horse 43 battery"


def reset_token(user: Any) -> str:
    user.refresh_from_db()
    return signed_tokens.sign(signed_tokens.PASSWORD_RESET, user)


def log_in(api: Api, user: Any, password: str) -> int:
    return api.post("/auth/login", json={"email": user.email, "password": password}).status_code


def actions(user: Any) -> list[str]:
    return list(AuditEvent.objects.filter(subject_id=user.pk).order_by("id").values_list("action", flat=True))


# -- Forgotten ---------------------------------------------------------------------------------------------------------


def test_it_works(api: Api, alice: Any, mailbox: Mailbox) -> None:
    session = api.as_(alice)
    assert api.post("/auth/password/forgot", json={"email": alice.email.upper()}).status_code == 202
    (mail,) = mailbox.of(alice)
    assert "24 hours" in get_text(mail)
    assert api.post("/auth/password/reset", json={"token": get_token(mail), "password": NEW}).status_code == 200
    assert error(api.get("/auth/me", headers=session)) == (401, "token_invalid")
    assert (log_in(api, alice, PASSWORD), log_in(api, alice, NEW)) == (401, 200)
    assert actions(alice)[:2] == [Action.PASSWORD_RESET_REQUESTED, Action.PASSWORD_RESET]
    assert [mail["Subject"] for mail in mailbox.of(alice)][1:] == ["Your LunaOS password was changed"]


def test_an_unknown_address_gets_the_same_answer(api: Api, alice: Any) -> None:
    known = api.post("/auth/password/forgot", json={"email": alice.email})
    unknown = api.post("/auth/password/forgot", json={"email": "nobody@example.com"})
    assert (known.status_code, known.content) == (unknown.status_code, unknown.content)


@pytest.mark.parametrize("known", [True, False])
def test_an_unknown_address_costs_the_same_steps(alice: Any, known: bool) -> None:
    with CaptureQueriesContext(connection) as queries, patch.object(Task, "apply_async", autospec=True) as enqueued:
        passwords.request_reset(alice.email if known else "nobody@example.com")
    assert [query["sql"].split()[0] for query in queries] == ["SELECT", "WITH"]
    assert enqueued.call_count == 1


def test_a_disabled_account_gets_no_mail(api: Api, make_user: Any, mailbox: Mailbox) -> None:
    user = make_user(is_active=False)
    assert api.post("/auth/password/forgot", json={"email": user.email}).status_code == 202
    assert mailbox.of(user) == []


def test_three_mails_an_hour_without_a_different_answer(api: Api, alice: Any, mailbox: Mailbox) -> None:
    answers = {api.post("/auth/password/forgot", json={"email": alice.email}).content for _ in range(5)}
    assert len(answers) == 1
    assert len(mailbox.of(alice)) == 3


@pytest.mark.parametrize("path", ["forgot", "reset", "change"])
def test_ten_attempts_in_five_minutes(api: Api, alice: Any, path: str) -> None:
    with api.from_address(address_with_time_left(300)) as client:
        headers = client.as_(alice)
        statuses = [client.post(f"/auth/password/{path}", json={}, headers=headers).status_code for _ in range(10)]
        response = client.post(f"/auth/password/{path}", json={}, headers=headers)
    assert statuses == [400] * 10
    assert error(response) == (429, "rate_limited")


# -- Reset -------------------------------------------------------------------------------------------------------------


def test_a_token_is_valid_once(api: Api, alice: Any) -> None:
    token = reset_token(alice)
    assert api.post("/auth/password/reset", json={"token": token, "password": NEW}).status_code == 200
    again = api.post("/auth/password/reset", json={"token": token, "password": PASSWORD})
    assert error(again) == (400, "mail_token_invalid")


def test_of_parallel_uses_one_wins(api: Api, alice: Any) -> None:
    token = reset_token(alice)

    def use(number: int) -> int:
        form = {"token": token, "password": f"{NEW} {number}"}
        return api.post("/auth/password/reset", json=form).status_code

    with ThreadPoolExecutor(6) as pool:
        statuses = list(pool.map(use, range(6)))
    assert sorted(statuses) == [200] + [400] * 5
    assert log_in(api, alice, f"{NEW} {statuses.index(200)}") == 200


def test_a_changed_password_invalidates_the_token(api: Api, alice: Any) -> None:
    token = reset_token(alice)
    alice.set_password(NEW)
    alice.save()
    response = api.post("/auth/password/reset", json={"token": token, "password": PASSWORD})
    assert error(response) == (400, "mail_token_invalid")


def test_24_hours(alice: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    token, now = reset_token(alice), time.time()
    monkeypatch.setattr(time, "time", lambda: now + 24 * 3600 - 5)
    assert signed_tokens.read(signed_tokens.PASSWORD_RESET, token) == alice
    monkeypatch.setattr(time, "time", lambda: now + 24 * 3600 + 5)
    with pytest.raises(MailTokenInvalid):
        signed_tokens.read(signed_tokens.PASSWORD_RESET, token)


def test_a_weak_password_does_not_use_the_token_up(api: Api, alice: Any) -> None:
    token = reset_token(alice)
    weak = api.post("/auth/password/reset", json={"token": token, "password": "password123"})
    assert error(weak) == (400, "validation_error")
    assert api.post("/auth/password/reset", json={"token": token, "password": NEW}).status_code == 200


@pytest.mark.parametrize("token", ["x", "a:b:c", signing.dumps(["x", "y"]), ""], ids=["x", "abc", "signed", "empty"])
def test_a_forged_token_is_refused(api: Api, database: None, token: str) -> None:
    response = api.post("/auth/password/reset", json={"token": token, "password": NEW})
    assert error(response) in [(400, "mail_token_invalid"), (400, "validation_error")]


def test_a_token_for_another_purpose_is_refused(api: Api, alice: Any) -> None:
    token = signed_tokens.sign(signed_tokens.VERIFICATION, alice)
    response = api.post("/auth/password/reset", json={"token": token, "password": NEW})
    assert error(response) == (400, "mail_token_invalid")


def test_a_token_of_a_disabled_or_deleted_account_is_refused(api: Api, alice: Any, bob: Any) -> None:
    disabled, gone = reset_token(alice), reset_token(bob)
    User.objects.filter(pk=alice.pk).update(is_active=False)
    bob.delete()
    for token in (disabled, gone):
        response = api.post("/auth/password/reset", json={"token": token, "password": NEW})
        assert error(response) == (400, "mail_token_invalid")


def test_it_unlocks_and_confirms_the_address(api: Api, alice: Any, at: Any) -> None:
    at("127.0.0.1")
    while lockout.count_attempt(alice.email):
        pass
    assert log_in(api, alice, PASSWORD) == 401
    api.post("/auth/password/reset", json={"token": reset_token(alice), "password": NEW})
    assert log_in(api, alice, NEW) == 200
    alice.refresh_from_db()
    assert alice.email_verified_at is not None


# -- Change ------------------------------------------------------------------------------------------------------------


def test_change(api: Api, alice: Any, mailbox: Mailbox) -> None:
    here, elsewhere = api.as_(alice), api.as_(alice)
    form = {"currentPassword": PASSWORD, "newPassword": NEW}
    response = api.post("/auth/password/change", json=form, headers=here)

    assert response.status_code == 200
    assert response.json()["data"]["user"]["id"] == str(alice.pk)
    fresh = {"Authorization": f"Bearer {response.json()['data']['token']}"}
    statuses = [api.get("/auth/me", headers=headers).status_code for headers in (here, elsewhere, fresh)]
    assert statuses == [401, 401, 200]
    assert (log_in(api, alice, PASSWORD), log_in(api, alice, NEW)) == (401, 200)
    assert actions(alice)[0] == Action.PASSWORD_CHANGED
    assert len(mailbox.of(alice)) == 1


def test_the_wrong_password_leaves_the_session_alive(api: Api, alice: Any) -> None:
    headers = api.as_(alice)
    form = {"currentPassword": "wrong", "newPassword": NEW}
    response = api.post("/auth/password/change", json=form, headers=headers)
    assert error(response) == (403, "wrong_password")
    assert "WWW-Authenticate" not in response.headers
    assert api.get("/auth/me", headers=headers).status_code == 200


def test_the_new_password_has_rules(api: Api, alice: Any) -> None:
    for weak in ("short7!", "password123", alice.email):
        form = {"currentPassword": PASSWORD, "newPassword": weak}
        response = api.post("/auth/password/change", json=form, headers=api.as_(alice))
        assert error(response) == (400, "validation_error")
        assert {entry["field"] for entry in response.json()["fields"]} == {"newPassword"}
    assert log_in(api, alice, PASSWORD) == 200


def test_of_parallel_changes_one_wins(api: Api, alice: Any) -> None:
    headers = api.as_(alice)

    def change(number: int) -> int:
        form = {"currentPassword": PASSWORD, "newPassword": f"{NEW} {number}"}
        return api.post("/auth/password/change", json=form, headers=headers).status_code

    with ThreadPoolExecutor(4) as pool:
        statuses = list(pool.map(change, range(4)))
    assert statuses.count(200) == 1
    assert log_in(api, alice, f"{NEW} {statuses.index(200)}") == 200


def test_a_user_cannot_change_the_password_of_another(api: Api, database: None) -> None:
    form = {"currentPassword": PASSWORD, "newPassword": NEW}
    assert error(api.post("/auth/password/change", json=form)) == (401, "not_authenticated")


def test_staff_change_it_and_sessions_end(api: Api, alice: Any, staff: httpx.Client) -> None:
    session = api.as_(alice)
    page = f"/admin/accounts/user/{alice.pk}/password/"
    staff.get(page)
    form = {"password1": NEW, "password2": NEW, "csrfmiddlewaretoken": staff.cookies["csrftoken"]}
    assert staff.post(page, data={**form, "usable_password": "true", "set-password": ""}).status_code == 200
    assert error(api.get("/auth/me", headers=session)) == (401, "token_invalid")
    assert log_in(api, alice, NEW) == 200


def test_a_command_changes_it_and_sessions_end(api: Api, alice: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    session = api.as_(alice)
    monkeypatch.setattr("getpass.getpass", lambda **_: NEW)
    call_command("changepassword", alice.email)
    assert error(api.get("/auth/me", headers=session)) == (401, "token_invalid")


@pytest.mark.parametrize(("confirmed", "status"), [(False, 401), (True, 200)])
def test_the_owner_of_the_address_takes_the_account_over(api: Api, alice: Any, confirmed: bool, status: int) -> None:
    """A stranger who created the account loses all access when the owner resets the password by mail."""
    if confirmed:
        User.objects.filter(pk=alice.pk).update(email_verified_at="2026-01-01T00:00:00Z")
        alice.refresh_from_db()
    key = api.with_key(alice)
    api.put("/providers/openai/key", json={"key": "sk-of-the-maker-0123456789"}, headers=api.as_(alice))
    body = {"token": reset_token(alice), "password": "another horse 43 battery"}
    assert api.post("/auth/password/reset", json=body).status_code == 200
    assert api.get("/auth/me", headers=key).status_code == status
    assert alice.provider_keys.exists() is confirmed


def test_another_address_ends_the_tokens_of_the_old_one(api: Api, alice: Any) -> None:
    token = reset_token(alice)
    User.objects.filter(pk=alice.pk).update(email="elsewhere@example.com")
    response = api.post("/auth/password/reset", json={"token": token, "password": "another horse 43 battery"})
    assert response.status_code == 400
