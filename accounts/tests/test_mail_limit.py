"""Limits on mails that strangers can cause, and mails without a limit."""

import hashlib
from typing import Any

import pytest
from django.db.models.functions import Now

from accounts import mail_limits, services
from accounts.auditlog.trail import Action
from accounts.models import User
from accounts.signin import lockout, passwords, verification
from apikeys import services as keys
from lunaos.infra import redis
from testing.client import PASSWORD, Api
from testing.mailbox import Mailbox

STRANGER = "stranger@example.com"


def sign_up(api: Api) -> None:
    """Sign up with an address, and away again, as often as one likes."""
    made = api.post("/auth/signup", json={"email": STRANGER, "password": PASSWORD})
    assert made.status_code == 201
    own = {"Authorization": f"Bearer {made.json()['data']['token']}"}
    assert api.request("DELETE", "/auth/me", json={"password": PASSWORD}, headers=own).is_success


@pytest.fixture
def sent(monkeypatch: Any) -> list[str]:
    """Return the mails that are put into the queue, by their tasks."""
    found: list[str] = []
    monkeypatch.setattr(
        "lunaos.infra.task_queue.enqueue.now", lambda task, *args: found.append(task.name.rpartition(".")[2])
    )
    return found


def test_six_welcome_mails_in_a_minute(api: Api) -> None:
    """Each needs a place among those of the address: five an hour."""
    for _ in range(6):
        sign_up(api)
    assert count("all") == 5 and not mail_limits.allow("welcome", STRANGER, limit=mail_limits.MAX_MAILS_PER_HOUR)


def count(kind: str) -> int:
    address = hashlib.sha256(STRANGER.encode()).hexdigest()
    return int(redis.client().get(f"lunaos:mails:{kind}:{address}") or 0)


def test_kinds_share_five_an_hour(database: None, sent: list[str]) -> None:
    user = services.sign_up(email=STRANGER, password=PASSWORD, name="")
    for _ in range(4):
        passwords.request_reset(STRANGER)
    for _ in range(4):
        verification.resend(user)
    assert sent == ["send_welcome", *["send_password_reset"] * 3, "send_verification"]
    services.sign_up(email="other@example.com", password=PASSWORD, name="")
    assert sent[-1] == "send_welcome"


def test_letter_case_makes_no_other_address(database: None) -> None:
    taken = [mail_limits.allow(kind, address) for kind in "abc" for address in (STRANGER, STRANGER.upper())]
    assert taken == [True] * 5 + [False]


def test_unknown_addresses_are_counted_alike(database: None) -> None:
    for _ in range(3):
        passwords.request_reset(STRANGER)
    assert not mail_limits.allow("password_reset", STRANGER)


def test_security_notices_are_never_suppressed(database: None, alice: Any, sent: list[str], at: Any) -> None:
    User.objects.filter(pk=alice.pk).update(email_verified_at=Now())
    alice.refresh_from_db()
    for number in range(7):
        mail_limits.allow(str(number), alice.email)
    for number in range(6):
        at(f"192.0.2.{number + 1}")
        for _ in range(10):
            lockout.record_failure(alice.email, lockout.count_attempt(alice.email))
        lockout.unlock(alice.email)
    assert sent == ["send_locked_out"] * 6
    keys.report_leaked(keys.create(user=alice, name="k").secret)
    assert sent[-1] == "send_key_leaked"
    user = User.objects.get(pk=alice.pk)
    assert passwords._replace(user, "a much better one 77", Action.PASSWORD_CHANGED)
    assert sent[-1] == "send_password_changed"


def test_security_notices_to_an_address_that_is_not_confirmed(database: None, sent: list[str]) -> None:
    """Creating and reporting keys once sent two mails a minute to a stranger whose address was used to sign up."""
    user = services.sign_up(email=STRANGER, password=PASSWORD, name="")
    for number in range(9):
        mail_limits.allow(str(number), STRANGER)
    for _ in range(mail_limits.MAX_MAILS_PER_HOUR + 2):
        keys.report_leaked(keys.create(user=user, name="k").secret)
    assert sent == ["send_welcome", *["send_key_leaked"] * mail_limits.MAX_MAILS_PER_HOUR]
    assert passwords._replace(user, "a much better one 77", Action.PASSWORD_CHANGED)
    assert "send_password_changed" not in sent


def test_the_process_counts_where_valkey_cannot(database: None, monkeypatch: Any) -> None:
    def down() -> None:
        raise redis.RedisError("down")

    monkeypatch.setattr(redis, "client", down)
    taken = [mail_limits.allow("welcome", "stranger-of-this-test@example.com", limit=9) for _ in range(9)]
    assert taken == [True] * mail_limits.MAX_MAILS_PER_HOUR + [False] * 4


def test_the_mails_themselves(alice: Any, mailbox: Mailbox) -> None:
    for _ in range(4):
        passwords.request_reset(alice.email)
    assert len(mailbox.of(alice)) == 3
