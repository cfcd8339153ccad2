"""Staff's second factor: set at the first sign-in, required at each later one."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone
from django_otp.oath import totp
from django_otp.plugins.otp_static.models import StaticDevice, StaticToken
from django_otp.plugins.otp_totp.models import TOTPDevice

from accounts.auditlog.trail import Action
from accounts.models import AuditEvent
from accounts.signin import lockout, second_factor
from testing import trail
from testing.client import PASSWORD, Api
from testing.second_factor import current_code
from testing.servers import daphne
from testing.windows import address_with_time_left

ENTER_THE_CODE = "Enter the code that your authenticator app shows now"


@pytest.fixture
def newcomer(make_user: Any) -> Any:
    """Return a superuser who has never signed in to the admin."""
    return make_user("newcomer", is_staff=True, is_superuser=True)


@pytest.fixture
def browser(api: Api) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=api.base_url, follow_redirects=True) as client:
        yield client


def post(browser: httpx.Client, path: str, **form: str) -> httpx.Response:
    if "csrftoken" not in browser.cookies:
        browser.get("/admin/login/")
    return browser.post(path, data={**form, "csrfmiddlewaretoken": browser.cookies["csrftoken"]})


def sign_in(browser: httpx.Client, user: Any, code: str = "", password: str = PASSWORD) -> httpx.Response:
    return post(browser, "/admin/login/", username=user.email, password=password, code=code, next="/admin/")


def secret_on(page: httpx.Response) -> bytes:
    """Return the secret as a user types it into the app."""
    found = re.search(r'enter the secret: <code class="secret">([A-Z2-7 ]+)</code>', page.text)
    assert found
    device = TOTPDevice.objects.get(confirmed=False)
    assert found[1].replace(" ", "") in device.config_url
    return bytes(device.bin_key)


def forget_delays(user: Any) -> None:
    """Reset the waiting time after a wrong code."""
    for kind in (TOTPDevice, StaticDevice):
        kind.objects.filter(user=user).update(throttling_failure_count=0, throttling_failure_timestamp=None)


def events(user: Any, action: Action) -> int:
    return AuditEvent.objects.filter(action=action, subject_id=user.pk).count()


def test_it_works(browser: httpx.Client, newcomer: Any) -> None:
    page = sign_in(browser, newcomer)
    assert page.url.path == "/admin/second-factor/" and "<svg" in page.text

    done = post(browser, "/admin/second-factor/", code=f"{totp(secret_on(page)):06}")
    codes = re.findall(r"<li><code>([a-z2-7]{8})</code></li>", done.text)
    assert len(set(codes)) == 10
    assert "Dashboard" in browser.get("/admin/").text
    assert events(newcomer, Action.SECOND_FACTOR_SET) == 1

    browser.cookies.clear()
    assert ENTER_THE_CODE in sign_in(browser, newcomer).text
    assert "Dashboard" in sign_in(browser, newcomer, codes[0]).text
    browser.cookies.clear()
    assert ENTER_THE_CODE in sign_in(browser, newcomer, codes[0]).text
    forget_delays(newcomer)
    assert "Dashboard" in sign_in(browser, newcomer, codes[1].upper()).text


def test_nothing_is_shown_before_it_is_set(browser: httpx.Client, newcomer: Any) -> None:
    sign_in(browser, newcomer)
    for path in ("/admin/", "/admin/accounts/user/", "/admin/runs/run/", "/admin/password_change/"):
        page = browser.get(path)
        assert page.url.path == "/admin/second-factor/", path


def test_the_page_complies_with_the_content_security_policy(browser: httpx.Client, newcomer: Any) -> None:
    page = sign_in(browser, newcomer)
    assert "unsafe-inline" not in page.headers["Content-Security-Policy"]
    assert not re.search(r"<style|<script(?![^>]* src=)|\sstyle=|\son\w+=", page.text)
    assert "no-store" in page.headers["Cache-Control"]


def test_logout_before_it_is_set(browser: httpx.Client, newcomer: Any) -> None:
    sign_in(browser, newcomer)
    post(browser, "/admin/logout/")
    assert browser.get("/admin/").url.path == "/admin/login/"


def test_a_wrong_code_sets_nothing(browser: httpx.Client, newcomer: Any) -> None:
    page = sign_in(browser, newcomer)
    wrong = f"{(totp(secret_on(page)) + 1) % 1_000_000:06}"
    assert "This code is wrong" in post(browser, "/admin/second-factor/", code=wrong).text
    TOTPDevice.objects.filter(user=newcomer).update(throttling_failure_count=10)  # which is a long pause
    right = f"{totp(secret_on(page)):06}"
    soon = post(browser, "/admin/second-factor/", code=right).text
    assert "too soon after a wrong one" in soon and "This code is wrong" not in soon
    assert not second_factor.is_enrolled(newcomer)
    assert browser.get("/admin/").url.path == "/admin/second-factor/"
    assert events(newcomer, Action.SECOND_FACTOR_FAILED) == 1


def test_the_secret_stays_until_it_is_confirmed(browser: httpx.Client, newcomer: Any) -> None:
    first = secret_on(sign_in(browser, newcomer))
    assert secret_on(browser.get("/admin/second-factor/")) == first


def test_the_password_alone_cannot_replace_it(browser: httpx.Client, newcomer: Any) -> None:
    current_code(newcomer)
    sign_in(browser, newcomer)
    assert browser.get("/admin/second-factor/").url.path == "/admin/login/"
    assert second_factor.enrol(newcomer, "000000") is None


def test_a_session_from_before_it_was_set_is_not_enough(browser: httpx.Client, newcomer: Any) -> None:
    sign_in(browser, newcomer)
    current_code(newcomer)
    assert browser.get("/admin/accounts/user/").url.path == "/admin/login/"


@pytest.mark.parametrize("code", ["", "000000", "aaaaaaaa", "x" * 16, "１２３４５６"])
def test_wrong_codes(browser: httpx.Client, newcomer: Any, code: str) -> None:
    current_code(newcomer)
    assert ENTER_THE_CODE in sign_in(browser, newcomer, code).text
    assert browser.get("/admin/").url.path == "/admin/login/"


def test_a_wrong_password_says_nothing_about_the_code(browser: httpx.Client, newcomer: Any) -> None:
    page = sign_in(browser, newcomer, current_code(newcomer), password="wrong")
    assert "Please enter the correct email and password" in page.text and ENTER_THE_CODE not in page.text


def test_a_code_is_valid_once(browser: httpx.Client, newcomer: Any) -> None:
    code = current_code(newcomer)
    assert "Dashboard" in sign_in(browser, newcomer, code).text
    browser.cookies.clear()
    assert ENTER_THE_CODE in sign_in(browser, newcomer, code).text


def test_each_wrong_code_prolongs_the_wait(newcomer: Any) -> None:
    code = current_code(newcomer)
    assert second_factor.verify(newcomer, "000000") is None
    assert second_factor.verify(newcomer, code) is None
    forget_delays(newcomer)
    assert second_factor.verify(newcomer, code) is not None


def test_guessing_codes_ends_in_a_lockout(browser: httpx.Client, newcomer: Any, at: Any) -> None:
    current_code(newcomer)
    for _ in range(10):
        forget_delays(newcomer)
        sign_in(browser, newcomer, "000000")
    at("127.0.0.1")
    assert lockout.count_attempt(newcomer.email) is None
    assert len(trail.event_details(newcomer, Action.SECOND_FACTOR_FAILED)) == 10
    assert events(newcomer, Action.LOCKED_OUT) == 1


def test_ten_attempts_in_five_minutes(api: Api, newcomer: Any) -> None:
    address = address_with_time_left(300)
    transport = httpx.HTTPTransport(local_address=address)
    with httpx.Client(base_url=api.base_url, transport=transport, follow_redirects=True) as browser:
        for n in range(10):
            assert "correct email" in post(browser, "/admin/login/", username=f"{n}@example.com", password="x").text
        assert "Too many attempts from this address" in sign_in(browser, newcomer).text
        assert browser.get("/admin/").url.path == "/admin/login/"


def test_customers_cannot_sign_in_to_the_admin(browser: httpx.Client, alice: Any) -> None:
    assert "Please enter the correct email and password for a staff account" in sign_in(browser, alice).text
    assert browser.get("/admin/second-factor/").url.path == "/admin/login/"
    assert not TOTPDevice.objects.filter(user=alice).exists()


def test_operators_can_reset_it(browser: httpx.Client, newcomer: Any, capsys: pytest.CaptureFixture[str]) -> None:
    sign_in(browser, newcomer, current_code(newcomer))
    call_command("reset_second_factor", newcomer.email.upper())
    assert newcomer.email in capsys.readouterr().out
    assert browser.get("/admin/").url.path == "/admin/second-factor/"
    assert events(newcomer, Action.SECOND_FACTOR_RESET) == 1
    with pytest.raises(CommandError, match="no account"):
        call_command("reset_second_factor", "nobody@example.com")


def test_a_superuser_can_reset_it(staff: httpx.Client, newcomer: Any) -> None:
    current_code(newcomer)
    form = {"action": "reset_second_factor", "_selected_action": str(newcomer.pk)}
    assert "Yes, continue" in post(staff, "/admin/accounts/user/", **form).text and second_factor.is_enrolled(newcomer)
    form["confirmed"] = "yes"
    assert "set a new second factor at the next sign-in" in post(staff, "/admin/accounts/user/", **form).text
    assert not second_factor.is_enrolled(newcomer)
    assert AuditEvent.objects.get(action=Action.SECOND_FACTOR_RESET, subject_id=newcomer.pk).actor_id != newcomer.pk


def test_a_setting_turns_it_off(database: None, newcomer: Any, folder: Path, django_db_blocker: Any) -> None:
    with (
        daphne(folder / "one-factor.log", LUNAOS_STAFF_SECOND_FACTOR="false") as url,
        httpx.Client(base_url=url, follow_redirects=True) as browser,
    ):
        assert "Dashboard" in sign_in(browser, newcomer).text


def test_secrets_are_not_shown_to_other_staff(staff: httpx.Client) -> None:
    for path in ("otp_totp/totpdevice", "otp_static/staticdevice"):
        assert staff.get(f"/admin/{path}/").status_code == 404


def test_backup_codes_are_replaced_not_added(newcomer: Any) -> None:
    device = second_factor.pending_device(newcomer)
    assert second_factor.enrol(newcomer, f"{totp(device.bin_key):06}")
    second_factor.remove(newcomer)
    TOTPDevice.objects.filter(user=newcomer).update(last_used_at=timezone.now())
    device = second_factor.pending_device(newcomer)
    assert second_factor.enrol(newcomer, f"{totp(device.bin_key):06}")
    assert StaticToken.objects.filter(device__user=newcomer).count() == second_factor.BACKUP_CODE_COUNT
