"""All mails: text and HTML, one button to an existing page, no secrets."""

import re
from collections.abc import Callable
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from html import unescape
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.conf import settings
from django.core import mail
from django.test import Client
from django.utils import timezone
from djstripe.models import Customer, Invoice

from accounts import emails as account_mails
from apikeys import emails as key_mails
from apikeys.models import ApiKey
from billing import emails as billing_mails
from billing.models import MonthlyUsage
from testing.mailbox import get_button, get_html, get_text
from testing.servers import ROOT

Send = Callable[[Any], None]
SHELL = re.compile(r"curl|--data|Content-Type|\bBearer\b|POST /|GET /|<code|<pre")
REMOTE = re.compile(r'<img|<script|<link|url\(|src=|@import|background="')


def invoice(user: Any) -> Invoice:
    customer = Customer.objects.create(id=f"cus_{user.pk}", subscriber=user, email=user.email)
    data = {"status": "open", "amount_due": 2900, "amount_paid": 2900, "currency": "usd", "number": "L-0001"}
    return Invoice.objects.create(id=f"in_{user.pk.hex}", customer=customer, stripe_data={**data, "tier": "pro"})


def send_alarm(user: Any) -> None:
    settings.ALARM_EMAILS = [user.email]
    account_mails.alarm("no_price", "A tier on sale has no price at Stripe: run manage.py sync_stripe_plans.")


def send_usage(user: Any) -> None:
    MonthlyUsage.objects.create(user=user, month=timezone.now().date().replace(day=1), executions=81, chains=7)
    billing_mails.usage_warning(user, percent=80, used=80, limit=100)


def send_leaked(user: Any) -> None:
    key = ApiKey.objects.create(user=user, name="<b>CI & co</b>", prefix="lnos_live_0123abcd", digest="d", scopes=[])
    key_mails.key_leaked(key)


MAILS: dict[str, Send] = {
    "welcome": account_mails.welcome,
    "verification": account_mails.verification,
    "password_reset": account_mails.password_reset,
    "password_changed": account_mails.password_changed,
    "locked_out": account_mails.locked_out,
    "alarm": send_alarm,
    "usage_warning": send_usage,
    "month_used_up": lambda user: billing_mails.usage_warning(user, percent=100, used=100, limit=100),
    "receipt": lambda user: billing_mails.receipt(user, invoice(user)),
    "payment_failed": lambda user: billing_mails.payment_failed(user, invoice(user)),
    "subscription_ended": billing_mails.subscription_ended,
    "key_leaked": send_leaked,
}


@pytest.fixture(autouse=True)
def public_url(settings: Any) -> None:
    settings.PUBLIC_URL, settings.ALLOWED_HOSTS, settings.ALARM_EMAILS = "https://lunaos.example", ["*"], []


@pytest.fixture
def alice(make_user: Any) -> Any:
    return make_user("alice", email_verified_at=timezone.now())


def sent_by(send: Send, user: Any) -> EmailMessage:
    """Return the mail that was sent, as its recipient's program parses it."""
    mail.outbox.clear()
    send(user)
    (sent,) = mail.outbox
    assert sent.to == [user.email]
    return received(sent)


def received(sent: Any) -> EmailMessage:
    return message_from_bytes(sent.message().as_bytes(), policy=default)


def text_of(html: str) -> str:
    """Return the words of HTML's body."""
    body = re.sub(r"<[^>]+>", " ", html.partition("</head>")[2])
    return " ".join(unescape(body).split())


@pytest.mark.parametrize("name", MAILS)
def test_it_works(name: str, alice: Any) -> None:
    """Both parts say the same, and the button leads to a page of the platform."""
    message = sent_by(MAILS[name], alice)
    text, html = get_text(message), get_html(message)
    assert message.get_content_type() == "multipart/alternative"
    assert [part.get_content_type() for part in message.iter_parts()] == ["text/plain", "text/html"]
    assert not SHELL.search(text + text_of(html)) and not REMOTE.search(html)
    assert max(map(len, text.splitlines())) <= 78 or "?token=" in text
    assert "\n\n\n" not in text and not re.search(r"{{|{%|None", text + html)
    paragraphs = [" ".join(each.split()) for each in text.split("\n\n")]
    missing = [each for each in paragraphs if ": " not in each and "https" not in each and each not in text_of(html)]
    assert missing == []

    button = urlsplit(get_button(message))
    assert f"{button.scheme}://{button.netloc}" == "https://lunaos.example"
    response = Client().get(f"{button.path}?{button.query}", headers={"Accept": "text/html"})
    assert response.status_code == (302 if name == "alarm" else 503 if name == "payment_failed" else 200), response


@pytest.mark.parametrize("name", MAILS)
def test_names_and_values_are_no_markup(name: str, alice: Any) -> None:
    alice.name = '<a href="https://evil.example">Alice</a>'
    message = sent_by(MAILS[name], alice)
    assert "evil.example" in get_text(message) or name == "alarm"
    assert get_html(message).count("<a ") == 1 and "<b>" not in get_html(message)


def test_there_is_no_other_mail() -> None:
    """Each template of a mail is sent by one of the functions above."""
    templates = {path for path in (ROOT / "templates").glob("*/*.txt") if "{% extends layout %}" in path.read_text()}
    assert {path.stem for path in templates} == MAILS.keys() - {"month_used_up"}
    senders = [
        path
        for app in ("accounts", "agents", "apikeys", "billing", "chains", "lunaos", "rag", "runs", "web")
        for path in (ROOT / app).rglob("*.py")
        if "tests" not in path.parts and re.search(r"send_mail|EmailMessage|EmailMulti|mail_admins", path.read_text())
    ]
    assert senders == [ROOT / "lunaos" / "infra" / "mails.py"]


def test_a_strangers_host_is_in_no_link(alice: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests with other Host and forwarded headers lead to the same address."""
    monkeypatch.setattr("lunaos.infra.task_queue.enqueue.now", lambda task, *arguments: task(*arguments))
    mail.outbox.clear()
    hostile = {"Host": "evil.example", "X-Forwarded-Host": "evil.example", "Origin": "https://evil.example"}
    for path in ("/auth/password/forgot", "/forgot-password"):
        kind = "application/json" if path.startswith("/auth") else "application/x-www-form-urlencoded"
        body = f'{{"email": "{alice.email}"}}' if path.startswith("/auth") else f"email={alice.email}"
        response = Client().post(path, data=body, content_type=kind, headers=hostile)
        assert response.status_code in (200, 202)
    assert len(mail.outbox) == 2
    for sent in mail.outbox:
        message = received(sent)
        assert get_button(message).startswith("https://lunaos.example/reset-password?token=")
        assert "evil" not in get_text(message) + get_html(message)


def test_the_usage_mail_shows_the_figures(alice: Any) -> None:
    text = get_text(sent_by(send_usage, alice))
    for line in ("Used: 80", "Of these, runs of agents: 73", "Of these, runs of chains: 7", "Limit: 100"):
        assert f"{line}\n" in text
    assert "Remaining: 20\n" in text and re.search(r"The next month starts: 1 \w+ \d{4}, 00:00 UTC\n", text)


def test_invoice_mails_show_amount_and_number(alice: Any) -> None:
    receipt = get_text(sent_by(MAILS["receipt"], alice))
    assert "Amount: 29.00 USD\nInvoice: L-0001\n" in receipt and "LunaOS pro" in receipt


def test_an_unconfirmed_address_gets_no_invoice(make_user: Any) -> None:
    message = sent_by(MAILS["payment_failed"], make_user("stranger"))
    assert get_button(message) == "https://lunaos.example/portal"
    assert "?token=" not in get_text(message)
