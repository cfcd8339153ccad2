"""Staff roles: each may do just what it should."""

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import Group
from django.test import Client, RequestFactory

from accounts.models import User

SIGNED_IN = Callable[[str], Client]
LISTS = {
    "/admin/accounts/user/",
    "/admin/accounts/auditevent/",
    "/admin/apikeys/apikey/",
    "/admin/agents/agent/",
    "/admin/agents/languagemodel/",
    "/admin/agents/providerkey/",
    "/admin/chains/chainpreset/",
    "/admin/runs/run/",
    "/admin/runs/run/storage/",
    "/admin/rag/repository/",
    "/admin/rag/indexjob/",
    "/admin/billing/tier/",
    "/admin/billing/monthlyusage/",
    "/admin/auth/group/",
}
CATALOGUE = {"/admin/agents/agent/", "/admin/chains/chainpreset/", "/admin/agents/languagemodel/"}
BILLING = {"/admin/billing/tier/", "/admin/billing/monthlyusage/"}


@pytest.fixture
def signed_in(make_user: Any, settings: Any) -> SIGNED_IN:
    settings.STAFF_SECOND_FACTOR = False

    def client_of(role: str) -> Client:
        user = make_user("staff", is_staff=True)
        user.groups.add(Group.objects.get(name=role))
        client = Client()
        client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
        return client

    return client_of


def act(client: Client, action: str, user: User) -> str:
    """Have an action done to a user, as from the list."""
    form = {"action": action, "_selected_action": str(user.pk), "confirmed": "yes"}
    return client.post("/admin/accounts/user/", form, follow=True).content.decode()


@pytest.mark.parametrize(
    ("role", "seen"),
    [
        ("Support", LISTS - {"/admin/auth/group/"}),
        ("Billing", BILLING | {"/admin/accounts/user/"}),
        ("Catalogue editor", CATALOGUE),
        ("Admin", LISTS),
    ],
)
def test_what_each_sees(signed_in: SIGNED_IN, role: str, seen: set[str]) -> None:
    client = signed_in(role)
    answers = {path: client.get(path).status_code for path in LISTS}
    assert {path for path, status in answers.items() if status == 200} == seen
    assert {status for path, status in answers.items() if path not in seen} <= {403}
    front = client.get("/admin/").content.decode()
    assert "Success rate" in front
    assert {path for path in LISTS if f'href="{path}"' in front} == seen


@pytest.mark.parametrize(
    ("role", "may"),
    [
        ("Support", {"unlock", "send_reset"}),
        ("Billing", {"set_tier"}),
        (
            "Admin",
            {"set_tier", "unlock", "send_reset", "end_sessions", "disable", "enable", "revoke_keys", "delete_selected"},
        ),
    ],
)
def test_what_each_does_to_users(signed_in: SIGNED_IN, alice: Any, role: str, may: set[str]) -> None:
    request = RequestFactory().get("/admin/")
    request.user = User.objects.get(pk=signed_in(role).session["_auth_user_id"])
    page = admin.site._registry[User]
    assert set(page.get_actions(request)) == may
    assert page.has_change_permission(request, alice) == (role == "Admin")
    assert page.has_delete_permission(request, alice) == (role == "Admin")


def test_support_changes_nothing(signed_in: SIGNED_IN, alice: Any) -> None:
    client = signed_in("Support")
    page = client.get(f"/admin/accounts/user/{alice.pk}/change/").content.decode()
    assert "Unlock sign-in" in page and "Disable" not in page and 'name="_save"' not in page
    act(client, "disable", alice)
    alice.refresh_from_db()
    assert alice.is_active
    for path in (
        f"accounts/user/{alice.pk}/password/",
        f"accounts/user/{alice.pk}/delete/",
        "agents/agent/add/",
        "chains/chainpreset/add/",
    ):
        assert client.get(f"/admin/{path}").status_code == 403, path


def test_billing_changes_tiers(signed_in: SIGNED_IN, alice: Any) -> None:
    client = signed_in("Billing")
    page = client.get(f"/admin/accounts/user/{alice.pk}/change/").content.decode()
    assert "Set tier" in page and "Usage by month" in page and "Audit trail" not in page
    assert 'name="_save"' in client.get("/admin/billing/tier/pro/change/").content.decode()
    assert client.get("/admin/agents/agent/add/").status_code == 403


def test_the_catalogue_editor_changes_agents(signed_in: SIGNED_IN) -> None:
    client = signed_in("Catalogue editor")
    for path in ("agents/agent/add/", "chains/chainpreset/add/"):
        assert client.get(f"/admin/{path}").status_code == 200
    assert client.get("/admin/accounts/user/").status_code == 403


def test_no_role_raises_anybody(signed_in: SIGNED_IN, make_user: Any, alice: Any) -> None:
    """Neither by a group, nor by the powers of an account, nor by another of the staff."""
    client, colleague = signed_in("Admin"), make_user("colleague", is_staff=True)
    group = Group.objects.get(name="Admin")
    assert 'name="_save"' not in client.get(f"/admin/auth/group/{group.pk}/change/").content.decode()
    assert 'name="is_superuser"' not in client.get(f"/admin/accounts/user/{alice.pk}/change/").content.decode()
    assert "0 accounts are disabled" in act(client, "disable", colleague)
    assert "0 accounts are sent a mail" in act(client, "send_reset", colleague)
    colleague.refresh_from_db()
    assert colleague.is_active
