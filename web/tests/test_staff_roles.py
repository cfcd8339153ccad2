"""Staff roles: each may do just what it should."""

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import Group
from django.test import Client, RequestFactory

from accounts.models import User
from apikeys.models import ApiKey
from billing.models import Grant
from runs.models import Run, Status
from runs.tests.test_stats import add_run
from web.tests import test_admin_queries as rows

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
    "/admin/refusals/refusal/",
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


def act(client: Client, action: str, *chosen: Any, page: str = "accounts/user") -> str:
    """Have an action done to users, or to what is theirs, as from the list."""
    form = {"action": action, "_selected_action": [str(each.pk) for each in chosen], "confirmed": "yes", "post": "yes"}
    return client.post(f"/admin/{page}/", form, follow=True).content.decode()


@pytest.fixture
def chief(make_user: Any) -> User:
    made: User = make_user("chief", is_staff=True, is_superuser=True)
    return made


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
        ("Support", {"unlock", "send_reset", "resend_verification", "add_note"}),
        ("Billing", {"set_tier", "restore_tier"}),
        (
            "Admin",
            {
                *(
                    "set_tier",
                    "restore_tier",
                    "unlock",
                    "send_reset",
                    "resend_verification",
                    "add_note",
                    "end_sessions",
                    "disable",
                    "enable",
                    "revoke_keys",
                ),
                "delete_selected",
            },
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


@pytest.mark.parametrize(
    ("role", "seen"),
    [
        ("Support", {"Grants", "Subscriptions", "Last charges"}),
        ("Billing", {"Grants", "Subscriptions", "Last charges", "Stripe's events"}),
    ],
)
def test_what_each_sees_of_payments(signed_in: SIGNED_IN, alice: Any, role: str, seen: set[str]) -> None:
    rows.subscription(alice, 1)
    Grant.objects.create(user=alice, tier_id="pro", reason="x")
    client = signed_in(role)
    page = client.get(f"/admin/accounts/user/{alice.pk}/change/").content.decode()
    lists = {"Grants": "billing/grant", "Subscriptions": "djstripe/subscription", "Last charges": "djstripe/invoice"}
    lists["Stripe's events"] = "billing/webhookevent"
    assert {title for title in lists if f"<caption>{title}</caption>" in page} == seen
    assert {title for title, path in lists.items() if client.get(f"/admin/{path}/").status_code == 200} == seen


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


def test_no_role_grants_permissions(signed_in: SIGNED_IN, make_user: Any, alice: Any) -> None:
    """No permission comes by a group, by an account, or by actions on other staff."""
    client, colleague = signed_in("Admin"), make_user("colleague", is_staff=True)
    group = Group.objects.get(name="Admin")
    assert 'name="_save"' not in client.get(f"/admin/auth/group/{group.pk}/change/").content.decode()
    assert 'name="is_superuser"' not in client.get(f"/admin/accounts/user/{alice.pk}/change/").content.decode()
    assert "0 accounts are disabled" in act(client, "disable", colleague)
    assert "0 accounts are sent a mail" in act(client, "send_reset", colleague)
    colleague.refresh_from_db()
    assert colleague.is_active


def test_no_role_deletes_staff(signed_in: SIGNED_IN, make_user: Any, alice: Any, bob: Any, chief: User) -> None:
    client, colleague = signed_in("Admin"), make_user("colleague", is_staff=True)
    form = {"action": "delete_selected", "_selected_action": [str(chief.pk), str(colleague.pk), str(alice.pk)]}
    asked = client.post("/admin/accounts/user/", form).content.decode()
    assert f"{chief.email} (staff)" in asked and f"{colleague.email} (staff)" in asked
    assert client.post("/admin/accounts/user/", form | {"post": "yes"}).status_code == 403
    assert User.objects.filter(pk__in=(chief.pk, colleague.pk, alice.pk)).count() == 3
    assert client.post(f"/admin/accounts/user/{chief.pk}/delete/", {"post": "yes"}).status_code == 403
    act(client, "delete_selected", alice, bob)
    assert not User.objects.filter(pk__in=(alice.pk, bob.pk)).exists()


def test_staff_are_skipped_in_bulk_actions(
    signed_in: SIGNED_IN, alice: Any, chief: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = RequestFactory().get("/admin/")
    request.user = User.objects.get(pk=signed_in("Admin").session["_auth_user_id"])
    page, told = admin.site._registry[User], []
    monkeypatch.setattr(page, "message_user", lambda request, text, *args: told.append(text))
    page.delete_queryset(request, User.objects.filter(pk__in=(alice.pk, chief.pk)))
    assert User.objects.filter(pk=chief.pk).exists() and not User.objects.filter(pk=alice.pk).exists()
    assert told == ["Omitted, because only superusers may change staff: 1."]


@pytest.mark.parametrize("role", ["Admin", "Billing"])
def test_no_role_sets_the_tier_of_staff(signed_in: SIGNED_IN, alice: Any, chief: User, role: str) -> None:
    client = signed_in(role)
    form = {"action": "set_tier", "_selected_action": [str(alice.pk), str(chief.pk)], "confirmed": "yes"}
    page = client.post("/admin/accounts/user/", form | {"tier": "pro", "reason": "x"}, follow=True).content.decode()
    assert f"{alice.email} is on pro now" in page and "only superusers may change staff: 1." in page
    grant = {"user": str(chief.pk), "tier": "team", "reason": "x"}
    page = client.post("/admin/billing/grant/add/", grant).content.decode()
    assert "Only superusers can grant a tier to staff." in page
    kept = Grant.objects.create(user=chief, tier_id="pro", reason="x")
    act(client, "end", kept, page="billing/grant")
    assert Grant.objects.get(user=chief).ended_at is None


def test_no_role_revokes_keys_of_staff(signed_in: SIGNED_IN, alice: Any, chief: User) -> None:
    client = signed_in("Admin")
    keys = [rows.key(alice, 1), rows.key(chief, 2)]
    assert "1 key is revoked" in act(client, "revoke", *keys, page="apikeys/apikey")
    assert "0 keys are revoked" in act(client, "revoke_keys", chief)
    assert ApiKey.objects.get(revoked_at=None).user == chief
    runs = [add_run(user, status=Status.QUEUED, chain="custom") for user in (alice, chief)]
    assert "1 run is being cancelled" in act(client, "cancel_all", *runs, page="runs/run")
    assert "Cancel this run" not in client.get(f"/admin/runs/run/{runs[1].pk}/change/").content.decode()
    client.post(f"/admin/runs/run/{runs[1].pk}/cancel/", {"confirmed": "yes"})
    assert Run.objects.get(cancel_requested_at=None).user == chief


@pytest.mark.parametrize(
    ("page", "make"),
    [("agents/providerkey", rows.provider_key), ("rag/repository", rows.repository), ("rag/indexjob", rows.job)],
)
def test_no_role_deletes_objects_of_staff(
    signed_in: SIGNED_IN, alice: Any, chief: User, page: str, make: Callable[[Any, int], Any]
) -> None:
    client, of_alice, of_chief = signed_in("Admin"), make(alice, 1), make(chief, 2)
    act(client, "delete_selected", of_alice, of_chief, page=page)
    assert client.post(f"/admin/{page}/{of_chief.pk}/delete/", {"post": "yes"}).status_code == 403
    assert type(of_chief).objects.count() == 2
    act(client, "delete_selected", of_alice, page=page)
    assert list(type(of_chief).objects.values_list("pk", flat=True)) == [of_chief.pk]


def test_superusers_act_upon_staff(signed_in: SIGNED_IN, make_user: Any, chief: User) -> None:
    client, colleague = Client(), make_user("colleague", is_staff=True)
    signed_in("Admin")
    client.force_login(chief, backend="django.contrib.auth.backends.ModelBackend")
    assert "1 key is revoked" in act(client, "revoke", rows.key(colleague, 1), page="apikeys/apikey")
    act(client, "delete_selected", colleague)
    assert not User.objects.filter(pk=colleague.pk).exists()
