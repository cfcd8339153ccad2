"""The last superuser cannot be deleted, disabled or demoted."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from django.db import connection
from django.forms import model_to_dict

from accounts.errors import LastSuperuser
from accounts.models import User
from accounts.privacy import deletion
from accounts.staff import suspension
from accounts.tests.test_second_factor import post
from testing.client import PASSWORD, Api, error


@pytest.fixture
def root(make_user: Any) -> Any:
    """Return the only superuser; another one is disabled, and a third is no staff."""
    make_user("former", is_staff=True, is_superuser=True, is_active=False)
    make_user("half", is_staff=False, is_superuser=True)
    return make_user("root", is_staff=True, is_superuser=True)


def test_the_api_does_not_delete_it(api: Api, root: Any) -> None:
    refused = api.request("DELETE", "/auth/me", json={"password": PASSWORD}, headers=api.as_(root))
    assert error(refused) == (409, "last_superuser")
    root.refresh_from_db()
    assert root.is_active and root.erasing_since is None


def test_one_of_two_superusers_can_be_deleted(api: Api, root: Any, make_user: Any) -> None:
    make_user("second", is_staff=True, is_superuser=True)
    gone = api.request("DELETE", "/auth/me", json={"password": PASSWORD}, headers=api.as_(root))
    assert gone.is_success and not User.objects.filter(pk=root.pk).exists()


@pytest.mark.parametrize("change", [{"is_active": False}, {"is_staff": False}, {"is_superuser": False}])
def test_no_write_demotes_or_disables_it(root: Any, change: dict[str, bool]) -> None:
    for name, value in change.items():
        setattr(root, name, value)
    with pytest.raises(LastSuperuser):
        root.save()
    with pytest.raises(LastSuperuser):
        root.save(update_fields=list(change))
    root.save(update_fields=["name"])


def test_no_deletion_removes_it(root: Any) -> None:
    with pytest.raises(LastSuperuser):
        root.delete()
    with pytest.raises(LastSuperuser):
        User.objects.filter(is_superuser=True).delete()
    with pytest.raises(LastSuperuser):
        deletion.delete_account(root)
    with pytest.raises(LastSuperuser):
        suspension.disable(root, actor=root)
    root.refresh_from_db()
    assert root.is_active


def test_two_superusers_cannot_remove_each_other(root: Any, make_user: Any) -> None:
    second = make_user("second", is_staff=True, is_superuser=True)

    def disable(user: Any) -> bool:
        try:
            return suspension.disable(user, actor=root)
        except LastSuperuser:
            return False
        finally:
            connection.close()

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(disable, (root, second))) == [False, True]


def test_the_admin_does_not_delete_it(staff: httpx.Client) -> None:
    mine = User.objects.get(is_superuser=True)
    page = post(staff, f"/admin/accounts/user/{mine.pk}/delete/", post="yes")
    assert "last superuser" in page.text
    chosen = {"action": "delete_selected", "_selected_action": str(mine.pk), "post": "yes"}
    assert "last superuser" in post(staff, "/admin/accounts/user/", **chosen).text
    assert User.objects.filter(pk=mine.pk, is_active=True).exists()


@pytest.mark.parametrize("power", ["is_active", "is_staff", "is_superuser"])
def test_the_admins_form_does_not_demote_it(staff: httpx.Client, power: str) -> None:
    mine = User.objects.get(is_superuser=True)
    form = {
        "email": mine.email,
        "name": mine.name,
        **dict.fromkeys({"is_active", "is_staff", "is_superuser"} - {power}, "on"),
    }
    page = post(staff, f"/admin/accounts/user/{mine.pk}/change/", **form)
    assert "last superuser" in page.text
    assert model_to_dict(User.objects.get(pk=mine.pk), [power]) == {power: True}


def test_the_admin_does_not_delete_both_of_two(staff: httpx.Client, make_user: Any) -> None:
    make_user("second", is_staff=True, is_superuser=True)
    chosen = {"action": "delete_selected", "post": "yes"}
    both = [str(pk) for pk in User.objects.filter(is_superuser=True).values_list("pk", flat=True)]
    data: dict[str, Any] = {**chosen, "_selected_action": both, "csrfmiddlewaretoken": staff.cookies["csrftoken"]}
    assert "last superuser" in staff.post("/admin/accounts/user/", data=data).text
    assert User.objects.filter(is_superuser=True, is_active=True).count() == 2
