"""Lockout: exact under parallel failures in two web processes, notified to the owner alone."""

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

import httpx
import pytest
from django.contrib.auth import authenticate
from django.http import HttpRequest

from accounts import tasks
from accounts.auditlog.trail import Action
from accounts.models import AuditEvent, KnownAddress, SignInCounter
from accounts.signin import jwt, lockout
from accounts.signin.hashers import Argon2idHasher
from testing import trail
from testing.client import NO_TRUSTED_AUTHORITIES, PASSWORD, Api, error
from testing.mailbox import Mailbox, get_text
from testing.servers import daphne

AT_ADDRESS, ANYWHERE = 4, 12


@pytest.fixture(scope="module")
def urls(django_db_setup: None, django_db_blocker: Any, folder: Path) -> Iterator[list[str]]:
    """Two web processes that lock after few failures, fewer than one address may have in five minutes anyway."""
    changes = {
        "LUNAOS_LOCKOUT_FAILURES": str(AT_ADDRESS),
        "LUNAOS_LOCKOUT_ACCOUNT_FAILURES": str(ANYWHERE),
        "LUNAOS_MAIL_FOLDER": str(folder / "mail"),
    }
    with (
        django_db_blocker.unblock(),
        daphne(folder / "first.log", **changes) as first,
        daphne(folder / "second.log", **changes) as second,
    ):
        yield [first, second]


def log_in(url: str, user: Any, password: str = "wrong", address: str = "127.0.0.1") -> httpx.Response:
    with httpx.Client(
        transport=httpx.HTTPTransport(NO_TRUSTED_AUTHORITIES, local_address=address), timeout=30
    ) as client:
        return client.post(f"{url}/auth/login", json={"email": user.email, "password": password})


def events(user: Any, action: Action) -> list[dict[str, Any]]:
    return [event.details for event in AuditEvent.objects.filter(action=action, subject_id=user.pk).order_by("id")]


def looked_at(user: Any) -> Counter[bool]:
    """Count the failures before the lockout (False) and after it (True)."""
    return Counter(details["locked"] for details in trail.event_details(user, Action.LOGIN_FAILED))


@pytest.fixture
def short(settings: Any) -> None:
    settings.LOCKOUT_FAILURES, settings.LOCKOUT_ACCOUNT_FAILURES = AT_ADDRESS, ANYWHERE


def test_it_works(urls: list[str], alice: Any, mailbox: Mailbox) -> None:
    for _ in range(AT_ADDRESS):
        assert error(log_in(urls[0], alice)) == (401, "invalid_credentials")

    assert error(log_in(urls[1], alice, PASSWORD)) == (401, "invalid_credentials")
    assert events(alice, Action.LOCKED_OUT) == [{"scope": "address", "minutes": 15}]
    (mail,) = mailbox.of(alice)
    assert mail["Subject"] == "Sign-in to your LunaOS account is locked"
    assert "for 15 minutes" in get_text(mail)


def test_parallel_failures_at_one_address_are_counted_exactly(urls: list[str], alice: Any, mailbox: Mailbox) -> None:
    with ThreadPoolExecutor(10) as pool:
        responses = list(pool.map(lambda n: log_in(urls[n % 2], alice), range(10)))

    assert {error(response) for response in responses} == {(401, "invalid_credentials")}
    assert len({response.json()["error"] for response in responses}) == 1
    assert looked_at(alice) == {False: AT_ADDRESS, True: 10 - AT_ADDRESS}
    assert len(events(alice, Action.LOCKED_OUT)) == 1
    assert len(mailbox.of(alice)) == 1


def test_parallel_failures_at_many_addresses_are_counted_exactly(urls: list[str], alice: Any) -> None:
    def attempt(number: int) -> tuple[int, str]:
        return error(log_in(urls[number % 2], alice, address=f"127.0.1.{number // 3 + 1}"))

    with ThreadPoolExecutor(12) as pool:
        assert set(pool.map(attempt, range(24))) == {(401, "invalid_credentials")}

    assert looked_at(alice) == {False: ANYWHERE, True: 24 - ANYWHERE}
    assert events(alice, Action.LOCKED_OUT) == [{"scope": "account", "minutes": 15}]
    assert error(log_in(urls[0], alice, PASSWORD, "127.0.1.99")) == (401, "invalid_credentials")


def test_strangers_cannot_lock_the_owner_out_at_a_known_address(urls: list[str], alice: Any) -> None:
    assert log_in(urls[0], alice, PASSWORD, "127.0.2.1").status_code == 200
    for number in range(ANYWHERE):
        log_in(urls[number % 2], alice, address=f"127.0.3.{number + 1}")
    assert events(alice, Action.LOCKED_OUT) == [{"scope": "account", "minutes": 15}]

    assert error(log_in(urls[0], alice, PASSWORD, "127.0.2.2")) == (401, "invalid_credentials")
    assert log_in(urls[1], alice, PASSWORD, "127.0.2.1").status_code == 200


def test_the_address_of_the_sign_up_is_known(urls: list[str], database: None) -> None:
    form = {"email": "home@example.com", "password": PASSWORD}
    with httpx.Client(transport=httpx.HTTPTransport(NO_TRUSTED_AUTHORITIES, local_address="127.0.2.9")) as client:
        assert client.post(f"{urls[0]}/auth/signup", json=form).status_code == 201
    assert KnownAddress.objects.get(email="home@example.com").address == "127.0.2.9"


def test_behind_a_proxy_the_clients_address_counts(folder: Path, alice: Any) -> None:
    changes = {"LUNAOS_TRUSTED_PROXIES": "1", "LUNAOS_LOCKOUT_FAILURES": str(AT_ADDRESS)}
    with daphne(folder / "proxied.log", **changes) as url, httpx.Client(base_url=url) as proxy:

        def attempt(address: str, password: str) -> int:
            form = {"email": alice.email, "password": password}
            return proxy.post("/auth/login", json=form, headers={"X-Forwarded-For": f"8.8.8.8, {address}"}).status_code

        for _ in range(AT_ADDRESS):
            attempt("192.0.2.7", "wrong")
        assert attempt("192.0.2.7", PASSWORD) == 401
        assert attempt("192.0.2.8", PASSWORD) == 200


def test_success_resets_the_counter_of_its_address(urls: list[str], alice: Any) -> None:
    for _ in range(2):
        for _ in range(AT_ADDRESS - 1):
            log_in(urls[0], alice)
        assert log_in(urls[1], alice, PASSWORD).status_code == 200
    assert not SignInCounter.objects.filter(email=alice.email, scope=lockout.ADDRESS_SCOPE).exists()


def test_success_does_not_reset_the_counter_of_the_account(alice: Any, short: None, at: Any) -> None:
    for number in range(5):
        at(f"192.0.2.{number + 1}")
        lockout.record_failure(alice.email, lockout.count_attempt(alice.email))
    at("192.0.2.200")
    attempt = lockout.count_attempt(alice.email)
    assert attempt and attempt.account_count == 6
    lockout.record_success(attempt)
    assert SignInCounter.objects.get(email=alice.email, scope=lockout.ACCOUNT_SCOPE).attempts == 5


@pytest.mark.parametrize("known", [True, False])
def test_a_locked_account_costs_one_hash_like_any_other(alice: Any, known: bool, short: None, at: Any) -> None:
    email = alice.email if known else "locked-nobody@example.com"
    while lockout.count_attempt(email):
        pass
    with patch.object(Argon2idHasher, "verify", autospec=True, side_effect=Argon2idHasher.verify) as verify:
        with patch.object(Argon2idHasher, "encode", autospec=True, side_effect=Argon2idHasher.encode) as encode:
            assert authenticate(HttpRequest(), username=email, password=PASSWORD) is None
    assert verify.call_count + encode.call_count == 1


def test_it_ends_by_itself(alice: Any, short: None, at: Any) -> None:
    while lockout.count_attempt(alice.email):
        pass
    past = datetime.now(UTC) - timedelta(minutes=15, seconds=1)
    SignInCounter.objects.filter(email=alice.email).update(counted_since=past)
    attempt = lockout.count_attempt(alice.email)
    assert attempt and (attempt.address_count, attempt.account_count) == (1, 1)


def test_attempts_during_a_lockout_do_not_prolong_it(alice: Any, short: None, at: Any) -> None:
    while lockout.count_attempt(alice.email):
        pass
    counter = SignInCounter.objects.filter(email=alice.email, scope=lockout.ADDRESS_SCOPE)
    locked_at = counter.get().counted_since
    assert lockout.count_attempt(alice.email) is None
    assert counter.get().counted_since == locked_at


def test_letter_case_makes_no_second_counter(alice: Any, short: None, at: Any) -> None:
    lockout.count_attempt(alice.email)
    attempt = lockout.count_attempt(alice.email.upper())
    assert attempt and attempt.address_count == 2


@pytest.mark.parametrize("address", ["", "no address", "192.0.2.300"])
def test_attempts_without_an_address_are_counted(alice: Any, short: None, at: Any, address: str) -> None:
    at(address)
    lockout.count_attempt(alice.email)
    attempt = lockout.count_attempt(alice.email)
    assert attempt and attempt.address_count == 2


def test_the_admin_is_behind_the_same_lockout(urls: list[str], make_user: Any) -> None:
    user = make_user(is_staff=True, is_superuser=True)
    for _ in range(AT_ADDRESS):
        log_in(urls[0], user)
    with httpx.Client(base_url=urls[1]) as browser:
        browser.get("/admin/login/")
        form = {"username": user.email, "password": PASSWORD, "csrfmiddlewaretoken": browser.cookies["csrftoken"]}
        page = browser.post("/admin/login/", data=form)
    assert page.status_code == 200 and "Please enter the correct email and password" in page.text


def test_failures_in_the_admin_lock_the_api(urls: list[str], make_user: Any) -> None:
    user = make_user(is_staff=True)
    with httpx.Client(base_url=urls[0]) as browser:
        browser.get("/admin/login/")
        form = {"username": user.email, "password": "wrong", "csrfmiddlewaretoken": browser.cookies["csrftoken"]}
        for _ in range(AT_ADDRESS):
            browser.post("/admin/login/", data=form)
    assert error(log_in(urls[1], user, PASSWORD)) == (401, "invalid_credentials")
    assert len(events(user, Action.LOCKED_OUT)) == 1


def test_a_customers_right_password_at_the_admin_is_a_failure(urls: list[str], alice: Any) -> None:
    """Or guessing there would tell that it is right, and leave no trace."""
    with httpx.Client(base_url=urls[0]) as browser:
        browser.get("/admin/login/")
        form = {"username": alice.email, "password": PASSWORD, "csrfmiddlewaretoken": browser.cookies["csrftoken"]}
        page = browser.post("/admin/login/", data=form)
    assert "Please enter the correct email and password" in page.text
    assert len(events(alice, Action.LOGIN_FAILED)) == 1


def test_staff_can_unlock(urls: list[str], alice: Any, staff: httpx.Client) -> None:
    for _ in range(AT_ADDRESS):
        log_in(urls[0], alice)
    form = {
        "action": "unlock",
        "_selected_action": str(alice.pk),
        "csrfmiddlewaretoken": staff.cookies["csrftoken"],
    }
    assert "1 account can sign in again" in staff.post("/admin/accounts/user/", data=form).text
    assert log_in(urls[0], alice, PASSWORD).status_code == 200
    assert len(events(alice, Action.UNLOCKED)) == 1


def test_reauthentication_counts_too(urls: list[str], alice: Any) -> None:
    headers = {"Authorization": f"Bearer {jwt.issue(alice)}"}
    form = {"currentPassword": "wrong", "newPassword": "another horse 43 battery"}
    with httpx.Client(base_url=urls[0], headers=headers) as client:
        for _ in range(AT_ADDRESS):
            assert error(client.post("/auth/password/change", json=form)) == (403, "wrong_password")
        right = client.post("/auth/password/change", json={**form, "currentPassword": PASSWORD})
    assert error(right) == (403, "wrong_password")


def test_expired_counters_and_addresses_are_deleted(alice: Any, short: None, at: Any) -> None:
    lockout.count_attempt(alice.email)
    lockout.remember_address(alice)
    lockout.delete_expired()
    assert SignInCounter.objects.filter(email=alice.email).count() == 2
    SignInCounter.objects.filter(email=alice.email).update(counted_since=datetime.now(UTC) - timedelta(hours=1))
    KnownAddress.objects.filter(email=alice.email).update(last_seen_at=datetime.now(UTC) - timedelta(days=91))
    lockout.delete_expired()
    assert not SignInCounter.objects.filter(email=alice.email).exists()
    assert not KnownAddress.objects.filter(email=alice.email).exists()


def test_logins_and_failures_are_audited(api: Api, alice: Any) -> None:
    api.post("/auth/login", json={"email": alice.email, "password": "wrong"})
    api.post("/auth/login", json={"email": alice.email, "password": PASSWORD})
    assert len(events(alice, Action.LOGIN_FAILED)) == len(events(alice, Action.LOGGED_IN)) == 1


def test_a_task_without_a_user_sends_no_mail(mailbox: Mailbox, alice: Any) -> None:
    tasks.send_locked_out.delay(*tasks.recipient_args(None))
    assert mailbox.of(alice) == []
