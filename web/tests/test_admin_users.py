"""Users in the admin: what the list says of them, and what staff do to them."""

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import httpx
import pytest

from accounts.auditlog.trail import Action
from accounts.models import AuditEvent, User
from apikeys.models import ApiKey
from runs.models import Run
from runs.tests.test_stats import add_run
from testing.client import PASSWORD, Api, error
from testing.mailbox import Mailbox

LIST = "/admin/accounts/user/"


def act(staff: httpx.Client, action: str, *users: Any, **form: Any) -> httpx.Response:
    page = staff.get(LIST)
    token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page.text)
    assert token
    chosen = [str(user.pk) for user in users]
    return staff.post(
        LIST, data={"csrfmiddlewaretoken": token[1], "action": action, "_selected_action": chosen, **form}
    )


def cells(page: httpx.Response, email: str) -> dict[str, str]:
    """Return a user's row, by column."""
    row = next(row for row in re.findall(r"<tr.*?</tr>", page.text, re.DOTALL) if email in row)
    found = re.findall(r'<t[dh][^>]*class="[^"]*field-(\w+)[^>]*>(.*?)</t[dh]>', row, re.DOTALL)
    return {name: " ".join(re.sub(r"<[^>]+>", " ", cell).split()) for name, cell in found}


def written(action: Action, user: Any) -> AuditEvent:
    event = AuditEvent.objects.get(action=action, subject_id=user.pk)
    assert event.actor_id not in (None, user.pk)
    return event


def test_it_works(staff: httpx.Client, alice: Any, bob: Any) -> None:
    month = datetime.now(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    add_run(bob, month + timedelta(seconds=1), cost_usd=Decimal("0.5"))
    add_run(bob, month + timedelta(seconds=2), cost_usd=Decimal("7"), own_key=True)
    add_run(bob, month - timedelta(seconds=1), cost_usd=Decimal("9"))
    page = staff.get(LIST, params={"q": "@example.com"})
    row = cells(page, bob.email)
    assert (row["tier"], row["state"]) == ("pro", "unconfirmed")
    assert (row["runs_this_month"], row["spent_this_month"]) == ("2", "$0.5")
    assert month.strftime("%Y") in row["last_seen"]
    assert cells(page, alice.email)["last_seen"] == "-"
    detail = staff.get(f"{LIST}{bob.pk}/change/").text
    assert "$0.5<" in detail and "End all sessions" in detail


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("tier=pro", {"bob"}),
        ("state=disabled", {"carol"}),
        ("state=active", {"alice", "bob", "staff"}),
        ("state=being+deleted", set()),
        ("is_staff__exact=1", {"staff"}),
        ("q=bob-", {"bob"}),
    ],
)
def test_finding(staff: httpx.Client, alice: Any, bob: Any, carol: Any, query: str, found: set[str]) -> None:
    User.objects.filter(pk=carol.pk).update(is_active=False)
    page = staff.get(f"{LIST}?{query}").text
    result = page[page.find('id="result_list"') :] if 'id="result_list"' in page else ""
    assert {name for name in ("alice", "bob", "carol", "staff") if f">{name}-" in result.replace("\n", "")} == found


def test_destructive_actions_ask_for_confirmation(staff: httpx.Client, alice: Any) -> None:
    for action in ("disable", "end_sessions", "revoke_keys"):
        page = act(staff, action, alice).text
        assert "Yes, continue" in page and alice.email in page, action
    alice.refresh_from_db()
    assert alice.is_active and alice.session_epoch == 0


def test_disabling_and_enabling(staff: httpx.Client, api: Api, alice: Any) -> None:
    token, key = api.as_(alice), api.with_key(alice)
    assert "1 account is disabled" in act(staff, "disable", alice, confirmed="yes").text
    assert error(api.get("/auth/me", headers=token))[0] == error(api.get("/auth/me", headers=key))[0] == 401
    assert "0 accounts are disabled" in act(staff, "disable", alice, confirmed="yes").text
    written(Action.DISABLED, alice)
    assert "1 account is enabled" in act(staff, "enable", alice).text
    assert api.get("/auth/me", headers=key).status_code == 200
    assert api.get("/auth/me", headers=token).status_code == 401
    written(Action.ENABLED, alice)


def test_staff_cannot_disable_themselves(staff: httpx.Client) -> None:
    me = User.objects.get(is_superuser=True)
    assert "0 accounts are disabled" in act(staff, "disable", me, confirmed="yes").text
    assert User.objects.get(pk=me.pk).is_active


def test_an_account_being_deleted_stays_closed(staff: httpx.Client, alice: Any) -> None:
    User.objects.filter(pk=alice.pk).update(is_active=False, erasing_since=datetime.now(UTC))
    assert "0 accounts are enabled" in act(staff, "enable", alice).text


@pytest.mark.parametrize("path", ["add", "{bob.pk}/change"])
def test_an_address_in_other_letter_case_is_taken(
    client: Any, make_user: Any, settings: Any, alice: Any, bob: Any, path: str
) -> None:
    settings.STAFF_SECOND_FACTOR = False
    client.force_login(make_user("chief", is_staff=True, is_superuser=True))
    form = {"email": alice.email.upper(), "usable_password": "true", "password1": PASSWORD, "password2": PASSWORD}
    page = client.post(f"{LIST}{path.format(bob=bob)}/", form).content.decode()
    assert "User with this Email already exists." in page


def test_an_address_is_kept_in_lower_case(client: Any, make_user: Any, settings: Any, alice: Any) -> None:
    """The same address in other letter case stays confirmed, and sessions go on."""
    settings.STAFF_SECOND_FACTOR = False
    client.force_login(make_user("chief", is_staff=True, is_superuser=True))
    User.objects.filter(pk=alice.pk).update(email_verified_at=datetime.now(UTC))
    form = {"email": alice.email.title(), "name": "Alice", "is_active": "on"}
    assert client.post(f"{LIST}{alice.pk}/change/", form).status_code == 302
    now = User.objects.get(pk=alice.pk)
    assert (now.email, now.session_epoch) == (alice.email, 0) and now.email_verified_at
    form = {"email": "New@Example.com", "usable_password": "true", "password1": PASSWORD, "password2": PASSWORD}
    assert client.post(f"{LIST}add/", form).status_code == 302
    assert User.objects.filter(email="new@example.com").exists()


def test_a_name_is_one_line(client: Any, make_user: Any, settings: Any, alice: Any) -> None:
    settings.STAFF_SECOND_FACTOR = False
    client.force_login(make_user("chief", is_staff=True, is_superuser=True))
    form = {"email": alice.email, "name": "Ann\nYou have won", "is_active": "on"}
    assert "Keep a name to one line" in client.post(f"{LIST}{alice.pk}/change/", form).content.decode()
    assert User.objects.get(pk=alice.pk).name == "Alice"


def test_ending_sessions(staff: httpx.Client, api: Api, alice: Any) -> None:
    token, key = api.as_(alice), api.with_key(alice)
    assert "1 account has to sign in again" in act(staff, "end_sessions", alice, confirmed="yes").text
    assert api.get("/auth/me", headers=token).status_code == 401
    assert api.get("/auth/me", headers=key).status_code == 200
    written(Action.LOGGED_OUT_EVERYWHERE, alice)


def test_revoking_keys(staff: httpx.Client, api: Api, alice: Any) -> None:
    key = api.with_key(alice)
    assert "1 key is revoked" in act(staff, "revoke_keys", alice, confirmed="yes").text
    assert error(api.get("/auth/me", headers=key)) == (401, "api_key_invalid")
    assert ApiKey.objects.get().revoked_at
    written(Action.KEY_REVOKED, alice)


def test_sending_a_reset(staff: httpx.Client, mailbox: Mailbox, alice: Any, carol: Any) -> None:
    User.objects.filter(pk=carol.pk).update(is_active=False)
    assert "1 account is sent a mail" in act(staff, "send_reset", alice, carol).text
    written(Action.PASSWORD_RESET_REQUESTED, alice)
    assert len(mailbox.of(alice)) == 1 and not mailbox.of(carol)


def test_runs_of_other_users_are_not_counted(staff: httpx.Client, alice: Any, bob: Any) -> None:
    add_run(bob)
    assert cells(staff.get(LIST), alice.email)["runs_this_month"] == "0"
    assert Run.objects.count() == 1


@pytest.mark.parametrize(("password", "changed"), [("hv7q2zk", False), ("hv7q2zkp", True)])
def test_staff_set_passwords_of_eight_characters_at_least(
    staff: httpx.Client, alice: Any, password: str, changed: bool
) -> None:
    path = f"{LIST}{alice.pk}/password/"
    token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', staff.get(path).text)
    assert token
    form = {"csrfmiddlewaretoken": token[1], "password1": password, "password2": password, "usable_password": "true"}
    page = staff.post(path, data=form)
    assert ("at least 8 characters" in page.text) is not changed
    alice.refresh_from_db()
    assert alice.check_password(password) is changed
