"""The page that sets the second factor, in a browser whose JavaScript is off."""

from typing import Any

import pytest
from django_otp.oath import totp
from django_otp.plugins.otp_totp.models import TOTPDevice
from playwright.sync_api import Page

from testing.browser import NewPage
from testing.client import PASSWORD, Api


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
    page.get_by_role("link", name="I have stored them").click()
    assert page.get_by_role("heading", name="Dashboard").is_visible()
    return codes


@pytest.mark.parametrize("javascript", [False, True])
def test_it_works(api: Api, make_user: Any, browser_page: NewPage, javascript: bool) -> None:
    user = make_user(is_staff=True, is_superuser=True)
    page = browser_page(java_script_enabled=javascript)
    assert len(walk_through(page, str(api.base_url).rstrip("/"), user)) == 10
