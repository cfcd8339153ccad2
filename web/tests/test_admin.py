"""The admin: staff sign in, find users, edit agents, read runs."""

import re
from typing import Any

import httpx

from agents.models import Agent, LanguageModel
from lunaos.embedded.servers import until
from testing.client import Api, answer
from testing.upstream import Upstream


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
    assert staff.post("/admin/agents/languagemodel/add/", data=form).status_code == 200
    try:
        assert until(lambda: api.execute(alice, model="gpt-new").status_code == 200, 10)
        assert answer(api.execute(alice, model="gpt-new")) == "Hello world"
    finally:
        LanguageModel.objects.filter(name="gpt-new").delete()
