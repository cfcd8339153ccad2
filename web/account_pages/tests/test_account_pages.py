"""Pages that confirm an address and set a password, without JavaScript."""

import re
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from django.conf import settings
from django.core import mail, signing
from django.test import Client
from django.utils import timezone
from django.utils.crypto import salted_hmac

from accounts.auditlog.trail import Action
from accounts.models import AuditEvent, User
from accounts.signin import signed_tokens
from testing.client import PASSWORD, Api
from testing.mailbox import Mailbox, get_button, get_text

NEW = "another horse 43 battery"
DAY_S = 24 * 3600
FORM = "application/x-www-form-urlencoded"
BROWSER = {"Accept": "text/html", "Sec-Fetch-Site": "same-origin"}
PAGES = ("/confirm-email", "/confirm-email/again", "/forgot-password", "/reset-password")


class Browser(Client):
    """Sends forms in this process, as a browser sends them."""

    def send(self, path: str, fields: dict[str, str], **headers: str) -> Any:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.post(path, urlencode(fields), content_type=FORM, headers=sent)


@pytest.fixture
def browser(database: None) -> Browser:
    return Browser(headers=BROWSER)


@pytest.fixture
def queue(monkeypatch: pytest.MonkeyPatch) -> None:
    """Send mails at once."""
    monkeypatch.setattr("lunaos.infra.task_queue.enqueue.now", lambda task, *arguments: task(*arguments))
    mail.outbox.clear()


def confirmation(user: User) -> str:
    return signed_tokens.sign(signed_tokens.VERIFICATION, user)


def reset(user: User) -> str:
    user.refresh_from_db()
    return signed_tokens.sign(signed_tokens.PASSWORD_RESET, user)


def is_confirmed(user: User) -> bool:
    return User.objects.filter(pk=user.pk).exclude(email_verified_at=None).exists()


def words(response: Any) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", response.content.decode()).split())


def actions(user: User) -> list[str]:
    return list(AuditEvent.objects.filter(subject_id=user.pk).order_by("id").values_list("action", flat=True))


def excesses() -> int:
    return AuditEvent.objects.filter(action=Action.RATE_EXCEEDED).count()


def hidden_token(response: Any) -> str:
    found = re.search(r'name="token" value="([^"]+)"', response.content.decode())
    assert found
    return found[1]


# -- Confirm an address ------------------------------------------------------------------------------------------------


def test_it_works(browser: Browser, alice: Any) -> None:
    page = browser.get("/confirm-email", {"token": confirmation(alice)})
    assert page.status_code == 200 and alice.email in words(page)
    done = browser.send("/confirm-email", {"token": hidden_token(page)})
    assert done.status_code == 200 and "Your address is confirmed" in words(done)
    assert is_confirmed(alice) and actions(alice) == [Action.EMAIL_VERIFIED]


@pytest.mark.parametrize("path", ["/confirm-email", "/reset-password"])
@pytest.mark.parametrize("method", ["get", "head"])
def test_a_scanner_of_mails_changes_nothing(browser: Browser, alice: Any, path: str, method: str) -> None:
    token = confirmation(alice) if path == "/confirm-email" else reset(alice)
    before = User.objects.filter(pk=alice.pk).values().get()
    for _ in range(3):
        assert getattr(browser, method)(path, {"token": token}).status_code == 200
    assert User.objects.filter(pk=alice.pk).values().get() == before and actions(alice) == []


def test_a_confirmation_is_valid_once(browser: Browser, alice: Any) -> None:
    token = confirmation(alice)
    answers = [browser.send("/confirm-email", {"token": token}) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 400]
    assert "This link does not work any more" in words(answers[1]) and "Send the mail" in words(answers[1])
    assert browser.get("/confirm-email", {"token": token}).status_code == 400
    assert actions(alice) == [Action.EMAIL_VERIFIED]


@pytest.mark.parametrize(("path", "make", "days"), [("/confirm-email", confirmation, 7), ("/reset-password", reset, 1)])
def test_links_expire(
    browser: Browser, alice: Any, path: str, make: Any, days: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    token, now = make(alice), time.time()
    monkeypatch.setattr(signing.time, "time", lambda: now + days * DAY_S - 5)  # type: ignore[attr-defined]
    assert browser.get(path, {"token": token}).status_code == 200
    monkeypatch.setattr(signing.time, "time", lambda: now + days * DAY_S + 5)  # type: ignore[attr-defined]
    assert browser.get(path, {"token": token}).status_code == 400
    answer = browser.send(path, {"token": token, "password": NEW})
    assert answer.status_code == 400 and "This link does not work any more" in words(answer)
    assert not is_confirmed(alice)


@pytest.mark.parametrize("path", ["/confirm-email", "/reset-password"])
def test_wrong_links(browser: Browser, alice: Any, path: str) -> None:
    other = reset(alice) if path == "/confirm-email" else confirmation(alice)
    for token in ("", "x", "a:b:c", "é\0", other, other[:-1], signing.dumps(["x", "y"])):
        answer = browser.send(path, {"token": token, "password": NEW})
        assert answer.status_code == 400 and "This link does not work any more" in words(answer)
    assert browser.get(path).status_code == browser.get(path, {"token": other}).status_code == 400
    assert actions(alice) == []


def test_tokens_of_mails_of_the_release_before(browser: Browser, alice: Any, bob: Any) -> None:
    """Tokens of those mails work on the pages and at the endpoints."""
    tokens = [_token_before("verification", each, f"{each.email} None") for each in (alice, bob)]
    assert browser.send("/confirm-email", {"token": tokens[0]}).status_code == 200
    body = {"token": tokens[1]}
    assert browser.post("/auth/verify", body, content_type="application/json").status_code == 200
    assert is_confirmed(alice) and is_confirmed(bob)


def _token_before(purpose: str, user: User, state: str) -> str:
    salt = f"accounts.mail.{purpose}"
    digest = salted_hmac(salt, state, algorithm="sha256").hexdigest()[:32]
    return signing.dumps([str(user.pk), digest], salt=salt, compress=True)


def test_a_mail_with_a_new_link(browser: Browser, alice: Any, queue: None) -> None:
    answers = {
        words(browser.send("/confirm-email/again", {"email": email}))
        for email in (alice.email, alice.email.upper(), "unknown@example.com")
    }
    assert len(answers) == 1 and "Look into your mailbox" in answers.pop()
    assert len(mail.outbox) == 2
    User.objects.filter(pk=alice.pk).update(email_verified_at=timezone.now())
    browser.send("/confirm-email/again", {"email": alice.email})
    assert len(mail.outbox) == 2


def test_three_mails_an_hour(browser: Browser, alice: Any, queue: None) -> None:
    for _ in range(5):
        browser.send("/confirm-email/again", {"email": alice.email})
    assert len(mail.outbox) == 3


# -- Set a new password ------------------------------------------------------------------------------------------------


def test_a_new_password_by_mail(api: Api, alice: Any, mailbox: Mailbox) -> None:
    """The whole way through the queue and a worker, with forms as browsers send them."""
    session = api.as_(alice)
    assert api.post("/forgot-password", data={"email": alice.email}, headers=BROWSER).status_code == 200
    (sent,) = mailbox.of(alice)
    page = api.get(get_button(sent).removeprefix(settings.PUBLIC_URL), headers=BROWSER)
    assert alice.email in page.text and "24 hours" in get_text(sent)
    form = {"token": hidden_token(page), "password": NEW}
    done = api.post("/reset-password", data=form, headers=BROWSER)
    assert done.status_code == 200 and "All sessions have ended." in words(done)
    assert api.get("/auth/me", headers=session).status_code == 401
    log_in = [
        api.post("/auth/login", json={"email": alice.email, "password": each}).status_code for each in (PASSWORD, NEW)
    ]
    assert log_in == [401, 200]
    assert actions(alice)[:2] == [Action.PASSWORD_RESET_REQUESTED, Action.PASSWORD_RESET]


@pytest.mark.parametrize(
    ("password", "fault"),
    [
        ("", "Fill in this field."),
        ("short", "Use at least 8 characters."),
        ("x" * 129, "This is too long."),
        ("password123", "This password is too common."),
        ("8402751936", "This password is entirely numeric."),
    ],
)
def test_a_password_that_breaks_a_rule(browser: Browser, alice: Any, password: str, fault: str) -> None:
    token = reset(alice)
    page = browser.send("/reset-password", {"token": token, "password": password})
    assert page.status_code == 400 and fault in words(page)
    assert f'value="{password}"' not in page.content.decode()
    done = browser.send("/reset-password", {"token": hidden_token(page), "password": NEW})
    assert done.status_code == 200
    assert browser.get("/reset-password", {"token": token}).status_code == 400


@pytest.mark.parametrize("confirmed", [True, False])
def test_the_page_says_what_happened_to_keys(
    browser: Browser, make_user: Any, api: Api, confirmed: bool, queue: None
) -> None:
    user = make_user(email_verified_at=timezone.now() if confirmed else None)
    key = api.with_key(user)
    done = browser.send("/reset-password", {"token": reset(user), "password": NEW})
    assert ("Your API keys still work." in words(done)) is confirmed
    assert (api.get("/auth/me", headers=key).status_code == 200) is confirmed


def test_an_unknown_address_gets_the_same_page(browser: Browser, alice: Any, queue: None) -> None:
    answers = {
        browser.send("/forgot-password", {"email": email}).content for email in (alice.email, "unknown@example.com")
    }
    assert len(answers) == 1 and len(mail.outbox) == 1
    wrong = browser.send("/forgot-password", {"email": "<b>no"})
    assert wrong.status_code == 400 and b"&lt;b&gt;no" in wrong.content and "Enter a valid email" in words(wrong)


# -- All pages ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", PAGES)
def test_no_address_and_no_cookie_leave_the_page(browser: Browser, path: str) -> None:
    for response in (browser.get(path), browser.send(path, {"email": "x"})):
        headers = response.headers
        assert (headers["Cache-Control"], headers["Referrer-Policy"]) == ("no-store", "no-referrer")
        assert "Set-Cookie" not in headers and not response.cookies
        assert "form-action 'self';" in f"{headers['Content-Security-Policy']};"
        assert "unsafe" not in headers["Content-Security-Policy"]
        assert b" style=" not in response.content and b"<script>" not in response.content


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_a_form_of_another_site_is_refused(browser: Browser, alice: Any, site: str) -> None:
    form = {"token": confirmation(alice)}
    answer = browser.send("/confirm-email", form, Sec_Fetch_Site=site)
    assert answer.status_code == 403 and not is_confirmed(alice)
    assert Browser().send("/confirm-email", form).status_code == 200  # a browser without the header


@pytest.mark.parametrize(
    ("path", "endpoint"),
    [
        ("/confirm-email", "/auth/verify"),
        ("/forgot-password", "/auth/password/forgot"),
        ("/reset-password", "/auth/password/reset"),
    ],
)
def test_pages_and_endpoints_share_a_limit(browser: Browser, path: str, endpoint: str) -> None:
    before = excesses()
    for _ in range(5):
        assert browser.post(endpoint, {}, content_type="application/json").status_code == 400
        assert browser.send(path, {"email": "no"}).status_code == 400
    refused = browser.send(path, {"email": "no"})
    assert refused.status_code == 429 and re.search(r"Wait [1-5] minutes?, then try again\.", words(refused))
    assert browser.post(endpoint, {}, content_type="application/json").status_code == 429
    assert excesses() == before + 1
    assert browser.get(path).status_code in (200, 400)


@pytest.mark.parametrize(
    ("kind", "body", "status"),
    [
        ("application/json", "{}", 415),
        ("multipart/form-data; boundary=x", "--x--", 415),
        ("application/x-www-form-urlencoded", "token=" + "x" * 1_100_000, 413),
        ("application/x-www-form-urlencoded", "&".join(f"a{n}=1" for n in range(30)), 400),
        ("application/x-www-form-urlencoded", "token=%FF", 400),
        ("application/x-www-form-urlencoded", "", 400),
    ],
)
def test_other_bodies(browser: Browser, kind: str, body: str, status: int) -> None:
    assert browser.post("/confirm-email", body, content_type=kind).status_code == status


def test_no_log_line_holds_a_token(api: Api, alice: Any, folder: Path) -> None:
    tokens = [confirmation(alice), reset(alice)]
    for path, token in zip(("/confirm-email", "/reset-password"), tokens, strict=True):
        for query in (token, f"{token}x"):
            api.get(path, params={"token": query}, headers=BROWSER)
            api.post(path, data={"token": query, "password": "short"}, headers=BROWSER)
        api.get(f"{path}/{token}", headers=BROWSER)  # a mistyped address: the token is in the path
    log = (folder / "web.log").read_text()
    assert "/confirm-email" in log and "/reset-password" in log
    assert [token for token in tokens if token[-20:] in log] == []
