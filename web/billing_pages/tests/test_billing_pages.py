"""/pricing, /portal and /pay: forms that sign in for one step, and lead to Stripe."""

import re
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from django.core import signing
from django.test import Client

from accounts.auditlog.trail import Action
from accounts.models import AuditEvent, User
from billing import tiers
from billing.models import Tier
from billing.payments import invoice_links, portal_links, stripe_client
from lunaos.infra import mails
from testing.client import PASSWORD, Api
from testing.second_factor import current_code
from testing.stripe import Stripe

BROWSER = {"Accept": "text/html", "Sec-Fetch-Site": "same-origin"}
FORM = "application/x-www-form-urlencoded"


class Browser(Client):
    def sign_in(self, path: str, user: Any, **fields: str) -> Any:
        """Send the form of a page."""
        sent = {"email": user.email, "password": PASSWORD, "otp": "", **fields}
        return self.post(path, urlencode(sent), content_type=FORM)


@pytest.fixture
def browser(database: None) -> Browser:
    return Browser(headers=BROWSER)


def words(response: Any) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", response.content.decode()).split())


def actions(user: User) -> list[str]:
    return list(AuditEvent.objects.filter(subject_id=user.pk).order_by("id").values_list("action", flat=True))


# -- Plans -------------------------------------------------------------------------------------------------------------


def test_it_works(browser: Browser, stripe: Stripe, alice: Any) -> None:
    response = browser.sign_in("/pricing", alice, tier="pro")
    assert response.status_code == 303 and response["Location"].startswith(f"{stripe.double.url}/pay/cs_test_")
    assert not response.cookies and actions(alice)[0] == Action.LOGGED_IN
    stripe.double.pay(response["Location"].rpartition("/")[2])
    assert stripe.reaches_tier(alice, "pro")


def test_the_figures_are_those_of_the_database(browser: Browser, stripe: Stripe, bounds: Any) -> None:
    bounds("pro", executions=12_345, requests_per_minute=678)
    shown = words(browser.get("/pricing"))
    assert "12,345 executions a month" in shown and "678 requests a minute" in shown
    assert "$29 a month" in shown and "$79 a month" in shown and "$0 a month" in shown


@pytest.mark.parametrize(
    ("asked", "chosen"), [("pro", "pro"), ("team", "team"), ("free", "pro"), ("<x>", "pro"), ("", "pro")]
)
def test_the_link_of_an_error_chooses_the_plan(browser: Browser, stripe: Stripe, asked: str, chosen: str) -> None:
    page = browser.get("/pricing", {"tier": asked}).content.decode()
    assert re.findall(r'value="(\w+)" required checked', page) == [chosen] and "<x>" not in page


@pytest.mark.parametrize(("tier", "leads"), [("free", "pro"), ("pro", "team"), ("team", None), ("none", "pro")])
def test_upgrade_urls_lead_to_the_next_plan(database: None, settings: Any, tier: str, leads: str | None) -> None:
    settings.PUBLIC_URL = "https://lunaos.example"
    assert tiers.upgrade_url(tier) == f"https://lunaos.example/pricing{f'?tier={leads}' if leads else ''}"


def test_a_refused_run_leads_here(api: Api, alice: Any, settings: Any) -> None:
    body = api.execute(alice, agent="seo").json()
    assert body["code"] == "pro_required"
    assert body["upgradeUrl"].endswith("/pricing?tier=pro") and body["checkoutUrl"] == f"{body['upgradeUrl']}#subscribe"


def test_a_subscriber_is_led_to_the_subscription(browser: Browser, stripe: Stripe, alice: Any) -> None:
    stripe.subscribe(alice)
    response = browser.sign_in("/pricing", alice, tier="team")
    assert response.status_code == 303 and response["Location"].startswith(f"{stripe.double.url}/portal/")


def test_without_stripe(browser: Browser, alice: Any) -> None:
    page = browser.get("/pricing")
    assert "takes no payments at present" in words(page) and "<form" not in page.content.decode()
    assert browser.sign_in("/portal", alice).status_code == 503


@pytest.mark.parametrize("tier", ["free", "gold", ""])
def test_a_plan_that_is_not_on_sale(browser: Browser, stripe: Stripe, alice: Any, tier: str) -> None:
    response = browser.sign_in("/pricing", alice, tier=tier)
    assert response.status_code == 400 and 'class="wrong"' in response.content.decode()
    assert actions(alice) == []


def test_a_plan_without_a_price_at_stripe(browser: Browser, stripe: Stripe, alice: Any) -> None:
    stripe.double.reset()
    response = browser.sign_in("/pricing", alice, tier="pro")
    assert response.status_code == 503 and "takes no payments" in words(response)


# -- Sign-in -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/pricing", "/portal"])
def test_a_wrong_password(browser: Browser, stripe: Stripe, alice: Any, path: str) -> None:
    response = browser.sign_in(path, alice, tier="team", password="wrong horse <b>")
    page = response.content.decode()
    assert response.status_code == 401 and "The email address or the password is wrong." in words(response)
    assert alice.email in page and "wrong horse" not in page
    assert 'value="team" required checked' in page or path == "/portal"
    assert actions(alice) == [Action.LOGIN_FAILED]
    unknown = browser.sign_in(path, User(email="unknown@example.com"), tier="team")
    assert words(unknown) == words(response)


def test_faults_of_fields(browser: Browser, stripe: Stripe) -> None:
    response = browser.post("/pricing", "email=no&tier=pro", content_type=FORM)
    shown = response.content.decode()
    assert response.status_code == 400 and "Enter a valid email address." in shown and "Fill in this field." in shown
    assert shown.count('aria-invalid="true"') == 2


def test_an_account_with_a_second_factor(browser: Browser, stripe: Stripe, alice: Any) -> None:
    code = current_code(alice)
    missing = browser.sign_in("/pricing", alice, tier="pro")
    assert missing.status_code == 401 and "Your account has a second factor." in words(missing)
    wrong = browser.sign_in("/pricing", alice, tier="pro", otp="000000" if code != "000000" else "111111")
    assert wrong.status_code == 401 and "This code is wrong" in words(wrong)


def test_a_right_code(browser: Browser, stripe: Stripe, alice: Any) -> None:
    assert browser.sign_in("/pricing", alice, tier="pro", otp=current_code(alice)).status_code == 303


def test_the_form_counts_towards_the_lockout(browser: Browser, stripe: Stripe, alice: Any, settings: Any) -> None:
    settings.LOCKOUT_FAILURES = 3
    for path in ("/pricing", "/portal", "/pricing"):
        browser.sign_in(path, alice, tier="pro", password="wrong")
    locked = browser.sign_in("/pricing", alice, tier="pro")
    assert locked.status_code == 401 and Action.LOCKED_OUT in actions(alice)


def test_pages_and_endpoint_share_a_limit(browser: Browser, stripe: Stripe, alice: Any) -> None:
    for _ in range(3):
        browser.post("/auth/login", {}, content_type="application/json")
        browser.post("/portal", "", content_type=FORM)
        browser.post("/pricing", "", content_type=FORM)
    browser.post("/pricing", "", content_type=FORM)
    assert browser.sign_in("/pricing", alice, tier="pro").status_code == 429
    assert browser.sign_in("/portal", alice).status_code == 429


@pytest.mark.parametrize("path", ["/pricing", "/portal"])
def test_a_form_of_another_site_is_refused(browser: Browser, stripe: Stripe, alice: Any, path: str) -> None:
    browser.defaults["HTTP_SEC_FETCH_SITE"] = "cross-site"
    assert browser.sign_in(path, alice, tier="pro").status_code == 403
    assert actions(alice) == []


@pytest.mark.parametrize("path", ["/pricing", "/portal", "/pay"])
def test_headers(browser: Browser, stripe: Stripe, path: str) -> None:
    response = browser.get(path)
    policy = response["Content-Security-Policy"]
    assert (response["Cache-Control"], response["Referrer-Policy"]) == ("no-store", "no-referrer")
    assert "unsafe" not in policy and "Set-Cookie" not in response.headers
    leads_to_stripe = f"form-action 'self' {stripe.double.url}" in policy
    assert leads_to_stripe is (path != "/pay")


def test_stripes_own_pages_are_allowed(browser: Browser, settings: Any) -> None:
    settings.STRIPE_HOST = "https://api.stripe.com"
    policy = browser.get("/pricing")["Content-Security-Policy"]
    assert "form-action 'self' https://checkout.stripe.com https://billing.stripe.com" in policy


# -- Subscription ------------------------------------------------------------------------------------------------------


def test_the_portal(browser: Browser, stripe: Stripe, alice: Any, bob: Any) -> None:
    stripe.subscribe(alice)
    response = browser.sign_in("/portal", alice)
    assert response.status_code == 303 and response["Location"].startswith(f"{stripe.double.url}/portal/")
    none = browser.sign_in("/portal", bob)
    assert none.status_code == 404 and "You have no subscription yet." in words(none)


def test_links_of_mails_of_the_release_before(browser: Browser, stripe: Stripe, alice: Any) -> None:
    stripe.subscribe(alice)
    token = signing.dumps([str(alice.pk), alice.email], salt=portal_links.SALT)
    response = browser.get("/portal", {"token": token})
    assert response.status_code == 302 and response["Location"].startswith(f"{stripe.double.url}/portal/")
    wrong = browser.get("/portal", {"token": f"{token}x"})
    assert wrong.status_code == 400 and "The link has expired" in words(wrong) and "Password" in words(wrong)


# -- Invoice -----------------------------------------------------------------------------------------------------------


def path_to(user: Any, invoice_id: str) -> str:
    return invoice_links.create(user, invoice_id).removeprefix(mails.page_url(""))


@pytest.fixture
def unpaid(stripe: Stripe, alice: Any) -> Any:
    """Return alice's invoice whose payment has failed."""
    stripe.double.fail_payment(stripe.subscribe(alice))
    (event,) = stripe.double.events("invoice.payment_failed")
    return stripe_client.retrieve_invoice(event["data"]["object"]["id"])


def test_an_open_invoice(browser: Browser, alice: Any, unpaid: Any) -> None:
    response = browser.get(path_to(alice, unpaid.id))
    assert (response.status_code, response["Location"]) == (302, unpaid.hosted_invoice_url)
    assert "/invoice/" in unpaid.hosted_invoice_url and response["Referrer-Policy"] == "no-referrer"


def test_a_paid_invoice(browser: Browser, stripe: Stripe, alice: Any, unpaid: Any) -> None:
    stripe.double.recover(unpaid.parent.subscription_details.subscription)
    response = browser.get(path_to(alice, unpaid.id))
    assert response.status_code == 200 and "This invoice is paid There is nothing to do." in words(response)


def test_an_invoice_that_stripe_does_not_know(browser: Browser, stripe: Stripe, alice: Any) -> None:
    assert "This invoice is closed" in words(browser.get(path_to(alice, "in_unknown")))


def test_wrong_links(browser: Browser, alice: Any, unpaid: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    path = path_to(alice, unpaid.id)
    portal = signing.dumps([str(alice.pk), alice.email], salt=portal_links.SALT)
    for wrong in ("/pay", f"{path}x", f"/pay?token={portal}"):
        response = browser.get(wrong)
        assert response.status_code == 400 and "This link does not work any more" in words(response)
    now = signing.time.time()  # type: ignore[attr-defined]
    monkeypatch.setattr(signing.time, "time", lambda: now + 7 * 24 * 3600 + 5)  # type: ignore[attr-defined]
    assert browser.get(path).status_code == 400
    monkeypatch.undo()
    User.objects.filter(pk=alice.pk).update(email="moved@example.com")
    assert browser.get(path).status_code == 400


def test_stripe_is_down(browser: Browser, stripe: Stripe, alice: Any, settings: Any) -> None:
    settings.STRIPE_HOST = "http://127.0.0.1:9"
    assert browser.get(path_to(alice, "in_1")).status_code == 503
    response = browser.sign_in("/pricing", alice, tier="pro")
    assert response.status_code == 503 and "cannot be reached" in words(response)


def test_no_log_line_holds_a_token(api: Api, stripe: Stripe, alice: Any, folder: Path) -> None:
    tokens = [path_to(alice, "in_1").partition("=")[2], signing.dumps([str(alice.pk), "x"], salt=portal_links.SALT)]
    for path, token in zip(("/pay", "/portal"), tokens, strict=True):
        api.get(f"{path}?token={token}", headers=BROWSER)
    api.post("/portal", data={"email": alice.email, "password": PASSWORD}, headers=BROWSER)
    log = (folder / "web.log").read_text()
    assert "/pay" in log and not [text for text in (*(token[-20:] for token in tokens), PASSWORD) if text in log]


def test_every_tier_on_sale_can_be_chosen(browser: Browser, stripe: Stripe) -> None:
    page = browser.get("/pricing").content.decode()
    on_sale = Tier.objects.exclude(lookup_key="").filter(price_usd__gt=0).values_list("name", flat=True)
    assert re.findall(r'name="tier" value="(\w+)"', page) == list(on_sale)
