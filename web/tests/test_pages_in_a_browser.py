"""Pages in light and dark, by keyboard, narrow, with and without JavaScript."""

from collections.abc import Iterator
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

from testing.browser import NewPage
from testing.client import Api

PATHS = ("/", "/status", "/nowhere")
DOCS = ("/docs/start", "/docs/agents/seo", "/docs/search?q=resume")
NOT_FOUND = ["404 (Not Found)"]  # the browser's own remark on a page with that status
STEP_INTO = """() => {
  const element = document.activeElement, style = getComputedStyle(element), box = element.getBoundingClientRect();
  return {
    name: element.tagName === "A" ? element.href : element.textContent.trim(),
    ring: style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2,
    visible: box.width > 0 && box.height > 0 && box.bottom > 0 && box.top < innerHeight,
  };
}"""


@pytest.fixture
def base(api: Api) -> str:
    return str(api.base_url).rstrip("/")


@pytest.mark.parametrize("path", PATHS + DOCS)
@pytest.mark.parametrize("scheme", ["light", pytest.param("dark", marks=pytest.mark.clients)])
def test_accessible_and_without_complaint(base: str, browser_page: NewPage, path: str, scheme: str) -> None:
    page = browser_page(color_scheme=scheme, expected=NOT_FOUND)
    page.goto(base + path)
    found = Axe().run(page).response["violations"]
    assert [(each["id"], each["nodes"][0]["html"]) for each in found if each["impact"] in ("serious", "critical")] == []


def test_the_reference_shows_itself_without_complaint(base: str, browser_page: NewPage) -> None:
    page = browser_page()
    page.goto(f"{base}/docs/api#/billing")
    page.get_by_role("heading", name="LunaOS API").wait_for()


def colours(page: Page) -> tuple[str, str]:
    return page.evaluate("[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color]")


def test_light_and_dark_differ(base: str, browser_page: NewPage) -> None:
    seen = []
    for scheme in ("light", "dark"):
        page = browser_page(color_scheme=scheme)
        page.goto(base)
        seen.append(colours(page))
    assert seen[0] != seen[1]


@pytest.mark.clients
@pytest.mark.parametrize("path", PATHS + DOCS)
def test_a_narrow_screen_needs_no_sideways_scrolling(base: str, browser_page: NewPage, path: str) -> None:
    page = browser_page(viewport={"width": 320, "height": 640}, expected=NOT_FOUND)
    page.goto(base + path)
    assert page.evaluate("document.documentElement.scrollWidth") == 320


def steps(page: Page) -> Iterator[dict[str, Any]]:
    """Return the elements that Tab reaches, to the end of the page."""
    for _ in range(100):
        page.keyboard.press("Tab")
        step: dict[str, Any] = page.evaluate(STEP_INTO)
        if page.evaluate("document.activeElement === document.body"):
            return
        yield step


@pytest.mark.parametrize("path", PATHS)
def test_every_link_is_reached_by_keyboard_and_seen(base: str, browser_page: NewPage, path: str) -> None:
    page = browser_page(reduced_motion="reduce", expected=NOT_FOUND)
    page.goto(base + path)
    page.wait_for_load_state("networkidle")
    links = page.evaluate("[...document.querySelectorAll('a, button')].map(e => e.href || e.textContent.trim())")
    reached = list(steps(page))
    assert [step["name"] for step in reached if step["name"] in links] == links
    assert [step for step in reached if not (step["ring"] and step["visible"])] == []


def test_the_first_step_skips_the_navigation(base: str, browser_page: NewPage) -> None:
    page = browser_page()
    page.goto(base)
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"


def test_the_request_is_copied(base: str, browser_page: NewPage) -> None:
    page = browser_page(permissions=["clipboard-read", "clipboard-write"])
    page.goto(base)
    page.get_by_role("button", name="Copy").click()
    page.get_by_role("button", name="Copied").wait_for()
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied.startswith("EMAIL=") and copied == page.locator("#request").text_content()


def test_the_status_renews_itself_and_can_be_paused(base: str, browser_page: NewPage) -> None:
    page = browser_page(viewport={"width": 800, "height": 400})
    page.clock.install()
    page.goto(base + "/status")
    pause = page.get_by_role("button", name="Pause")
    pause.focus()
    with page.expect_response("**/status"):
        page.clock.run_for(31_000)
    pause.click()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.clock.run_for(120_000)
    assert asked == [] and pause.get_attribute("aria-pressed") == "true"
    with page.expect_response("**/status"):
        pause.click()


def test_an_unreachable_platform_is_reported(base: str, browser_page: NewPage) -> None:
    page = browser_page(expected=["ERR_FAILED"])
    page.clock.install()
    page.goto(base + "/status")
    page.route("**/status", lambda route: route.abort())
    page.clock.run_for(31_000)
    page.get_by_role("heading", name="This page cannot reach the platform.").wait_for()
    page.unroute("**/status")
    page.clock.run_for(31_000)
    page.get_by_role("heading", name="The platform is up").wait_for()


def test_without_javascript(base: str, browser_page: NewPage) -> None:
    page = browser_page(java_script_enabled=False)
    page.goto(base)
    assert page.get_by_role("heading", name="28 expert agents").is_visible()
    assert not page.get_by_text("Copy", exact=True).is_visible()
    page.goto(base + "/status")
    assert not page.get_by_text("Pause", exact=True).is_visible()
    assert page.locator('meta[http-equiv="refresh"]').get_attribute("content") == "30"
