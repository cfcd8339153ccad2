"""Support finds in a browser why a run was refused and why a key stopped."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

from apikeys import services
from apikeys.models import ApiKey, ApiKeyAddress
from apikeys.services import CreatedKey
from lunaos.embedded.servers import until
from refusals.models import Refusal
from runs.models import Status
from runs.tests.test_stats import add_run
from testing.client import Api
from web.tests.test_admin_pages import keep_both, page

__all__ = ["page"]

BOX = "Mail address, run id, request id, key or invoice number"
WIDTHS = (1280, 390)
WIDER_THAN_ITS_PAGE = (
    "(tables) => tables.filter((each) => each.scrollWidth > each.parentElement.clientWidth + 1).length"
)


@pytest.fixture
def made(alice: Any) -> CreatedKey:
    """Return a key that was used, refused and used up."""
    made = services.create(user=alice, name="Nightly review", scopes=["agents"])
    key, now = made.key, datetime.now(UTC)
    ApiKey.objects.filter(pk=key.pk).update(last_used_at=now)
    ApiKeyAddress.objects.create(key=key, network="203.0.113.7")
    ApiKeyAddress.objects.create(key=key, network="2001:db8:1:2::/64")
    for n in range(4):
        status = Status.FAILED if n == 1 else Status.SUCCEEDED
        add_run(alice, now - timedelta(hours=n), api_key_id=key.pk, api_key_prefix=key.prefix, status=status)
    messages = {
        "scope_missing": "This key lacks the scope chains.",
        "quota_exceeded": "All 100 executions of the free tier are used. The next month starts on 2027-01-01.",
        "rate_limited": "The limit of 60 requests a minute is reached. Try again in 12 seconds.",
    }
    for n, (code, message) in enumerate(messages.items()):
        ids = {"first_request_id": f"c4a1d2f0-0b7e-4a1f-9a55-00000000000{n}", "last_request_id": f"ticket-{n}"}
        fields = {"key_id": key.pk, "key_prefix": key.prefix, "code": code, "message": message, "count": 7 * n + 1}
        Refusal.objects.create(user=alice, minute=now - timedelta(minutes=n), **ids, **fields)
    return made


def violations(page: Page) -> list[str]:
    """Return axe's findings in our part of a page; the rest belongs to the theme."""
    found = Axe().run(page, context="#content").response["violations"]
    return [f"{each['id']}: {each['nodes'][0]['html'][:200]}" for each in found]


def test_it_works(page: Page, api: Api, alice: Any) -> None:
    """From the customer's request id to the refusal, its key, and the key's end."""
    headers = {**api.with_key(alice, "rag"), "X-Request-Id": "ticket-4711"}
    assert api.get("/runs", headers=headers).status_code == 403
    assert until(Refusal.objects.exists, 5)
    page.goto("/admin/runs/run/")
    page.get_by_label(BOX).fill("ticket-4711")
    page.keyboard.press("Enter")
    page.get_by_role("link", name="scope_missing").click()
    page.get_by_text("This key lacks the scope agents or chains.").wait_for()
    page.get_by_role("link", name=ApiKey.objects.get().prefix).click()
    page.get_by_text("The key works.").wait_for()
    page.get_by_role("button", name="Revoke this key").click()
    page.get_by_role("button", name="Yes, continue").click()
    page.get_by_text("1 key is revoked.").wait_for()
    page.get_by_text("by staff: staff-").wait_for()
    assert api.get("/runs", headers=headers).status_code == 401


def test_a_whole_key_is_never_in_the_address(page: Page, made: CreatedKey) -> None:
    page.goto("/admin/")
    page.locator(".luna-search.is-large").get_by_label(BOX).fill(made.secret)
    with page.expect_navigation():
        page.keyboard.press("Enter")
    page.get_by_role("link", name=made.key.prefix).wait_for()
    assert page.url.endswith(f"?q={made.key.prefix}") and made.secret not in page.content()


@pytest.mark.clients
def test_the_pages_are_accessible_and_fit(page: Page, made: CreatedKey, alice: Any) -> None:
    """At 1280 pixels no table scrolls sideways; at 390 nothing leaves the window."""
    refusal = Refusal.objects.first()
    assert refusal
    paths = {
        "search": "find/?q=ticket-1",
        "nothing-found": "find/?q=unheard-of",
        "key": f"apikeys/apikey/{made.key.pk}/change/",
        "keys": "apikeys/apikey/",
        "refusals": "refusals/refusal/",
        "refusal": f"refusals/refusal/{refusal.pk}/change/",
        "user-with-refusals": f"accounts/user/{alice.pk}/change/",
    }
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 900})
        for name, path in paths.items():
            page.goto(f"/admin/{path}")
            page.locator("#content").wait_for()
            keep_both(page, f"support-{name}-{width}")
            assert page.evaluate("document.documentElement.scrollWidth") == width, (name, width)
            if width == WIDTHS[0]:
                assert page.locator("#result_list").evaluate_all(WIDER_THAN_ITS_PAGE) == 0, name
            if name in ("search", "nothing-found", "key"):
                assert violations(page) == [], (name, width, violations(page))
