"""The admin: staff sign in, find users, edit agents, read runs."""

import re
from typing import Any

import httpx
from django.contrib import admin
from django.contrib.auth.models import Permission
from django.test import RequestFactory

from accounts.models import User
from agents.models import Agent, LanguageModel
from testing.client import Api, answer, takes_effect
from testing.loopback.upstream import Upstream


def test_pages(staff: httpx.Client, alice: Any, api: Api, upstream: Upstream) -> None:
    run_id = api.execute(alice).headers["X-Run-Id"]
    agent = Agent.objects.get(slug="seo")
    for path, expected in {
        f"/admin/accounts/user/?q={alice.email}": alice.email,
        f"/admin/accounts/user/{alice.pk}/change/": alice.email,
        "/admin/accounts/user/add/": "password1",
        "/admin/agents/agent/": "SEO Agent",
        f"/admin/agents/agent/{agent.pk}/change/": "JSON-LD",
        "/admin/agents/languagemodel/": "gpt-4o-mini",
        f"/admin/runs/run/?q={run_id}": run_id,
        f"/admin/runs/run/{run_id}/change/": alice.email,
    }.items():
        page = staff.get(path)
        assert page.status_code == 200 and expected in page.text, path


def test_a_form_without_its_token_is_refused(staff: httpx.Client) -> None:
    assert staff.post("/admin/agents/languagemodel/add/", data={"provider": "openai", "name": "x"}).status_code == 403


def test_strangers_are_sent_to_the_login(api: Api, alice: Any) -> None:
    assert api.get("/admin/runs/run/", headers=api.as_(alice)).status_code == 302


def test_a_model_that_staff_add_can_be_used(staff: httpx.Client, api: Api, alice: Any, upstream: Upstream) -> None:
    page = staff.get("/admin/agents/languagemodel/add/")
    token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page.text)
    assert token
    form = {"provider": "openai", "name": "gpt-new", "enabled": "on", "csrfmiddlewaretoken": token[1]}
    form |= {"max_output_tokens": "23456"}
    page = staff.post("/admin/agents/languagemodel/add/", data=form)
    assert page.status_code == 200 and re.search(r"field-max_output_tokens[^>]*>\s*23456", page.text)
    try:
        assert takes_effect(lambda: api.execute(alice, model="gpt-new").status_code == 200)
        assert answer(api.execute(alice, model="gpt-new")) == "Hello world"
        assert upstream.requests[-1]["max_tokens"] == 23456
    finally:
        LanguageModel.objects.filter(name="gpt-new").delete()


def test_support_staff_do_not_raise_themselves(api: Api, make_user: Any, alice: Any) -> None:
    """Staff who may change users may change customers, not powers or other staff."""
    support, chief = make_user("support", is_staff=True), make_user("chief", is_staff=True, is_superuser=True)
    support.user_permissions.set(Permission.objects.filter(codename__in=["change_user", "delete_user", "view_user"]))
    site, request = admin.site._registry[User], RequestFactory().get("/admin/")
    request.user = support
    powers = {"is_staff", "is_superuser", "groups", "user_permissions"}
    assert powers <= set(site.get_readonly_fields(request, alice))
    assert site.has_change_permission(request, alice) and site.has_delete_permission(request, alice)
    for staff_member in (support, chief):
        assert not site.has_change_permission(request, staff_member)
        assert not site.has_delete_permission(request, staff_member)
    request.user = chief
    assert not powers & set(site.get_readonly_fields(request, support))
    assert site.has_change_permission(request, support)
