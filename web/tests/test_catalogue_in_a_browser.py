"""A catalogue editor's day: change, try, save, compare and restore a prompt."""

from collections.abc import Iterator
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.contrib.auth.models import Group
from playwright.sync_api import Page

from agents import versions
from agents.models import Agent, LanguageModel
from testing.browser import NewPage
from testing.client import PASSWORD, Api, takes_effect
from testing.loopback.upstream import DONE, Answer, Upstream, delta, usage
from testing.second_factor import current_code


@pytest.fixture
def agent(database: None) -> Iterator[Agent]:
    probe = Agent(
        slug="probe", name="Probe", role="Probes.", category="core", tier="free", prompt="One\nTwo", position=99
    )
    versions.save(probe, by=None, note="New.")
    yield probe
    Agent.objects.filter(slug="probe").delete()


def signed_in(page: Page, api: Api, editor: Any) -> Page:
    page.set_default_timeout(10_000)
    page.goto(f"{api.base_url}/admin/".replace("//admin", "/admin"))
    page.get_by_label("Email").fill(editor.email)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_label("Code").fill(current_code(editor))
    page.get_by_role("button", name="Log in").click()
    page.get_by_role("heading", name="Dashboard").wait_for()
    return page


@pytest.fixture
def editor(make_user: Any) -> Any:
    user = make_user("editor", is_staff=True)
    user.groups.add(Group.objects.get(name="Catalogue editor"))
    return user


def faults(page: Page, within: str) -> list[tuple[str, str]]:
    """Return axe's findings in our part of a page; the rest belongs to the theme."""
    found = Axe().run(page, context=within).response["violations"]
    return [(each["id"], each["nodes"][0]["html"]) for each in found if each["impact"] in ("serious", "critical")]


@pytest.mark.parametrize("scheme", ["light", pytest.param("dark", marks=pytest.mark.clients)])
def test_it_works(api: Api, browser_page: NewPage, agent: Agent, editor: Any, upstream: Upstream, scheme: str) -> None:
    upstream.respond_with(Answer(pieces=[delta("Roses "), "wait", delta("are red.", "stop"), usage(11, 7), DONE]))
    page = signed_in(browser_page(color_scheme=scheme), api, editor)
    page.goto(str(api.base_url.join(f"/admin/agents/agent/{agent.pk}/change/")))
    page.get_by_label("Prompt").fill("One\nSay it in verse.")
    page.get_by_label("Provider and model").select_option("openai/gpt-4o-mini")
    assert "def discount" in page.get_by_label("Context", exact=True).input_value()
    page.get_by_role("button", name="Try", exact=True).press("Enter")

    answer = page.get_by_role("log", name="Answer")
    answer.get_by_text("Roses").wait_for()
    assert answer.inner_text() == "Roses " and answer.get_attribute("aria-busy") == "true"
    assert upstream.requests[0]["messages"][0]["content"] == "One\nSay it in verse."
    upstream.resume.set()
    page.get_by_text("11 tokens in, 7 out").wait_for()
    assert answer.inner_text() == "Roses are red."
    assert faults(page, "#trial") == []
    assert Agent.objects.get(pk=agent.pk).prompt == "One\nTwo"

    page.get_by_label("Note").fill("Verse is liked.")
    page.get_by_role("button", name="Save and continue editing").click()
    page.get_by_text("was changed successfully").wait_for()
    page.get_by_role("link", name="Versions").click()
    assert page.get_by_role("row", name="Version 2 (now)").get_by_text("Verse is liked.").is_visible()
    assert faults(page, "#content") == []
    page.get_by_role("link", name="Version 2").click()
    page.locator("ins", has_text="+Say it in verse.").wait_for()
    assert page.locator("del").inner_text().startswith("−")
    assert faults(page, "#content") == []

    page.get_by_role("link", name="All versions").click()
    page.get_by_role("link", name="Version 1").click()
    page.get_by_role("link", name="Restore this version").click()
    page.locator("del", has_text="Say it in verse.").wait_for()
    assert faults(page, "#content") == []
    page.get_by_role("button", name="Yes, restore").click()
    page.get_by_text("has the content of version 1 again").wait_for()
    assert page.get_by_label("Prompt").input_value() == "One\nTwo"


def test_a_model_without_a_price(
    api: Api, browser_page: NewPage, agent: Agent, editor: Any, upstream: Upstream
) -> None:
    row = LanguageModel.objects.create(provider="openai", name="not-for-sale-9")
    page = signed_in(browser_page(), api, editor)
    page.goto(str(api.base_url.join(f"/admin/agents/agent/{agent.pk}/change/")))
    option = page.get_by_label("Provider and model").locator("option", has_text=row.name)
    assert takes_effect(lambda: bool(page.reload()) and option.count() == 1)
    page.get_by_label("Provider and model").select_option(f"openai/{row.name}")
    row.delete()
    page.get_by_role("button", name="Try", exact=True).click()
    page.get_by_text("11 tokens in, 7 out, cost unknown.").wait_for()


def test_stopping_and_failing(api: Api, browser_page: NewPage, agent: Agent, editor: Any, upstream: Upstream) -> None:
    upstream.respond_with(Answer(pieces=[delta("Roses "), "hang"]), Answer(status=401))
    page = signed_in(browser_page(expected=["502 (Bad Gateway)"]), api, editor)
    page.goto(str(api.base_url.join(f"/admin/agents/agent/{agent.pk}/change/")))
    page.get_by_role("button", name="Try", exact=True).click()
    page.get_by_role("log").get_by_text("Roses").wait_for()
    page.get_by_role("button", name="Stop").click()
    page.get_by_text("Stopped.").wait_for()
    assert upstream.client_gone.wait(10)
    page.get_by_role("button", name="Try", exact=True).click()
    page.get_by_text("(provider_error)").wait_for()
