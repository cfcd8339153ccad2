"""The page that sets the second factor, in a browser whose JavaScript is off."""

import os
from pathlib import Path
from typing import Any

import pytest
from django_otp.oath import totp
from django_otp.plugins.otp_totp.models import TOTPDevice
from playwright.sync_api import ConsoleMessage, Page, sync_playwright

from testing.client import PASSWORD, Api

CHROMIUM = Path(os.environ.get("CHROMIUM_PATH", "/usr/bin/chromium"))
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]

pytestmark = pytest.mark.skipif(
    not CHROMIUM.exists(), reason=f"no browser at {CHROMIUM}: install Debian's chromium or set CHROMIUM_PATH"
)


def walk_through(page: Page, base_url: str, user: Any) -> list[str]:
    """Sign in for the first time, scan and confirm; returns the backup codes."""
    page.goto(f"{base_url}/admin/")
    page.get_by_label("Email").fill(user.email)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    code = page.locator(".qr svg").bounding_box()
    assert code and code["width"] > 150 and code["width"] == code["height"]
    device = TOTPDevice.objects.get(user=user)
    page.locator('input[name="code"]').fill(f"{totp(device.bin_key):06}")
    page.get_by_role("button", name="Confirm").click()
    codes = page.locator(".codes code").all_inner_texts()
    page.get_by_role("link", name="I have kept them").click()
    assert page.get_by_role("heading", name="Dashboard").is_visible()
    return codes


@pytest.mark.parametrize("javascript", [False, True])
def test_it_works(api: Api, make_user: Any, django_db_blocker: Any, javascript: bool, monkeypatch: Any) -> None:
    monkeypatch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "1")  # Playwright has a loop in this thread
    user, complaints = make_user(is_staff=True, is_superuser=True), list[str]()

    def note(message: ConsoleMessage) -> None:
        complaints.append(message.text)

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=ARGUMENTS)
        page = browser.new_page(java_script_enabled=javascript)
        page.on("console", note)
        codes = walk_through(page, str(api.base_url).rstrip("/"), user)
        browser.close()
    assert len(codes) == 10
    assert not [complaint for complaint in complaints if "Content Security Policy" in complaint]
