"""Limits on sign-ups, and accounts with unconfirmed addresses."""

import subprocess
import sys
from typing import Any

import pytest
from django.http import HttpRequest

from accounts.errors import EmailNotVerified
from accounts.models import User
from accounts.signin import verification
from accounts.signin.throttles import count_sign_up
from lunaos.errors import RateLimited
from testing.client import PASSWORD, Api, error
from testing.servers import ROOT

SHOW = "from django.conf import settings as s; print(s.REQUIRE_VERIFIED_EMAIL, s.REQUIRE_VERIFIED_EMAIL_OF_ALL)"


@pytest.mark.parametrize(
    ("key", "said", "found"),
    [
        ("", "", "False False"),
        ("re_key", "", "True False"),
        ("re_key", "false", "False False"),
        ("", "true", "True True"),
    ],
)
def test_the_default_follows_the_mail_provider(key: str, said: str, found: str) -> None:
    environment = {
        **{"DJANGO_DEBUG": "true", "DJANGO_SECRET_KEY": "s", "DATABASE_URL": "postgres://x", "REDIS_URL": "redis://x"},
        **{"RESEND_API_KEY": key, "LUNAOS_REQUIRE_VERIFIED_EMAIL": said, "DJANGO_SETTINGS_MODULE": "lunaos.settings"},
    }
    shown = subprocess.run(
        [sys.executable, "-c", SHOW], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    assert shown.stdout.strip() == found


@pytest.mark.parametrize(
    ("exempt", "of_all", "allowed"), [(True, False, True), (True, True, False), (False, False, False)]
)
def test_older_accounts_are_exempt_from_the_default(
    make_user: Any, settings: Any, exempt: bool, of_all: bool, allowed: bool
) -> None:
    settings.REQUIRE_VERIFIED_EMAIL, settings.REQUIRE_VERIFIED_EMAIL_OF_ALL = True, of_all
    user = make_user(verification_exempt=exempt)
    if allowed:
        verification.require_verified_email(user)
        return
    with pytest.raises(EmailNotVerified):
        verification.require_verified_email(user)


def test_new_accounts_are_not_exempt_but_those_of_operators(database: None) -> None:
    assert not User.objects.create_user("a@example.com", PASSWORD).verification_exempt
    assert User.objects.create_superuser("b@example.com", PASSWORD).verification_exempt


def sign_up_from(address: str) -> None:
    request = HttpRequest()
    request.META["REMOTE_ADDR"] = address
    count_sign_up(request)


@pytest.mark.parametrize(
    ("address", "neighbour", "stranger"),
    [
        ("192.0.2.7", "192.0.2.7", "192.0.2.8"),
        ("2001:db8:1:2::7", "2001:db8:1:2:ffff::1", "2001:db8:1:3::7"),  # a /64 is one customer's
    ],
)
def test_twenty_sign_ups_a_day(database: None, address: str, neighbour: str, stranger: str) -> None:
    for _ in range(20):
        sign_up_from(address)
    with pytest.raises(RateLimited) as refused:
        sign_up_from(neighbour)
    assert 0 < (refused.value.retry_after or 0) <= 86_400 and refused.value.extra["limit"] == 20
    sign_up_from(stranger)


def test_the_endpoint_counts_what_is_well_formed(api: Api) -> None:
    for _ in range(19):
        sign_up_from("127.0.0.1")
    assert error(api.post("/auth/signup", json={"email": "no address", "password": PASSWORD}))[0] == 400
    sent = {"email": "one@example.com", "password": PASSWORD}
    assert api.post("/auth/signup", json=sent).status_code == 201
    refused = api.post("/auth/signup", json={**sent, "email": "two@example.com"})
    assert error(refused) == (429, "rate_limited") and int(refused.headers["Retry-After"]) > 0
    assert not User.objects.filter(email="two@example.com").exists()
