"""Pages with forms and their mails: light, dark, narrow, wide, without scripts."""

from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.core import mail
from django.utils import timezone
from playwright.sync_api import Page

from accounts.models import User
from accounts.signin import signed_tokens
from billing.payments import invoice_links
from lunaos.infra.mails import page_url
from testing.browser import NewPage, save_screenshot
from testing.client import PASSWORD
from testing.mailbox import get_html
from testing.stripe import Stripe
from web.tests.test_mails import MAILS, received

NEW = "another horse 43 battery"
OLD_LINK = ["400 (Bad Request)", "401 (Unauthorized)"]  # the browser's own remark on a page with that status
LOOKS = [(width, scheme) for width in (390, 1280) for scheme in ("light", "dark")]


def confirm_path(user: User) -> str:
    return f"/confirm-email?token={signed_tokens.sign(signed_tokens.VERIFICATION, user)}"


def reset_path(user: User) -> str:
    return f"/reset-password?token={signed_tokens.sign(signed_tokens.PASSWORD_RESET, user)}"


PAGES: dict[str, Any] = {
    "confirm": confirm_path,
    "confirm-again": "/confirm-email/again",
    "old-link": "/confirm-email?token=old",
    "forgot": "/forgot-password",
    "reset": reset_path,
    "pricing": "/pricing?tier=team",
    "portal": "/portal",
    "pay-old-link": "/pay?token=old",
}


@pytest.fixture
def base(stripe: Stripe) -> str:
    return str(stripe.api.base_url).rstrip("/")


def check_looks(page: Page, name: str) -> None:
    """Check accessibility in each size and scheme, without sideways scrolling."""
    for width, scheme in LOOKS:
        page.set_viewport_size({"width": width, "height": 900})
        page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        save_screenshot(page, f"{name}-{width}-{scheme}")
        found = Axe().run(page).response["violations"]
        assert [(width, scheme, each["id"], each["nodes"][0]["html"]) for each in found] == []
        assert page.evaluate("document.documentElement.scrollWidth") == width


@pytest.mark.clients
@pytest.mark.parametrize("name", PAGES)
def test_accessible_in_each_look(base: str, alice: Any, browser_page: NewPage, name: str) -> None:
    page = browser_page(expected=OLD_LINK)
    path = PAGES[name] if isinstance(PAGES[name], str) else PAGES[name](alice)
    page.goto(base + path)
    check_looks(page, f"page-{name}")


def test_a_form_with_faults_is_accessible(base: str, browser_page: NewPage) -> None:
    page = browser_page(expected=OLD_LINK)
    page.goto(f"{base}/pricing")
    page.evaluate("document.querySelector('form').noValidate = true")
    page.get_by_label("Email address").fill("no address")
    page.get_by_role("button", name="Continue to Stripe").click()
    page.get_by_text("Enter a valid email address.").wait_for()
    assert page.evaluate("document.activeElement.textContent").startswith("Correct the marked fields")
    check_looks(page, "page-pricing-faults")


@pytest.mark.clients
@pytest.mark.parametrize("name", ["welcome", "usage_warning"])  # without and with figures; the layout is one
def test_mails_are_accessible_in_each_look(make_user: Any, browser_page: NewPage, name: str) -> None:
    mail.outbox.clear()
    MAILS[name](make_user("alice", email_verified_at=timezone.now()))
    page = browser_page()
    page.set_content(get_html(received(mail.outbox[0])))
    check_looks(page, f"mail-{name}")


def test_an_address_is_confirmed_without_javascript(base: str, alice: Any, browser_page: NewPage) -> None:
    page = browser_page(java_script_enabled=False, expected=OLD_LINK)
    path = confirm_path(alice)
    page.goto(base + path)
    page.get_by_role("button", name="Confirm").click()
    page.get_by_role("heading", name="Your address is confirmed").wait_for()
    assert User.objects.get(pk=alice.pk).email_verified_at
    page.goto(base + path)
    page.get_by_role("heading", name="This link does not work any more").wait_for()
    page.get_by_label("Email address").fill(alice.email)
    page.get_by_role("button", name="Send the mail").click()
    page.get_by_role("heading", name="Look into your mailbox").wait_for()


def test_a_password_is_set_without_javascript(base: str, alice: Any, browser_page: NewPage) -> None:
    page = browser_page(java_script_enabled=False, expected=OLD_LINK)
    page.goto(base + reset_path(alice))
    page.get_by_label("New password").fill("password123")
    page.get_by_role("button", name="Set the password").click()
    page.get_by_text("This password is too common.").wait_for()
    assert page.get_by_label("New password").input_value() == ""
    page.get_by_label("New password").fill(NEW)
    page.get_by_role("button", name="Set the password").click()
    page.get_by_role("heading", name="Your new password is set").wait_for()


def test_an_upgrade_without_javascript(base: str, stripe: Stripe, alice: Any, browser_page: NewPage) -> None:
    page = browser_page(java_script_enabled=False, expected=OLD_LINK)
    page.goto(f"{base}/pricing?tier=team#subscribe")
    assert page.get_by_role("radio", name="team").is_checked()
    page.get_by_label("Email address").fill(alice.email)
    page.get_by_label("Password", exact=True).fill("wrong")
    page.get_by_role("button", name="Continue to Stripe").click()
    page.get_by_text("The email address or the password is wrong.").wait_for()
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.get_by_role("button", name="Continue to Stripe").click()
    page.wait_for_url(f"{stripe.double.url}/pay/**")
    page.get_by_role("button", name="Pay").first.click()
    page.wait_for_url(f"{base.replace('127.0.0.1', '*')}/checkout/done**")
    assert stripe.reaches_tier(alice, "team")


def test_a_failed_payment_is_paid_from_the_mail(base: str, stripe: Stripe, alice: Any, browser_page: NewPage) -> None:
    subscription_id = stripe.subscribe(alice)
    stripe.double.fail_payment(subscription_id)
    (event,) = stripe.double.events("invoice.payment_failed")
    path = invoice_links.create(alice, event["data"]["object"]["id"]).removeprefix(page_url(""))
    page = browser_page(java_script_enabled=False)
    page.goto(base + path)
    page.get_by_role("button", name="Pay").click()
    page.goto(base + path)
    page.get_by_role("heading", name="This invoice is paid").wait_for()
    page.get_by_role("link", name="Open your subscription").click()
    page.get_by_label("Email address").fill(alice.email)
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.get_by_role("button", name="Continue to Stripe").click()
    page.wait_for_url(f"{stripe.double.url}/portal/**")
