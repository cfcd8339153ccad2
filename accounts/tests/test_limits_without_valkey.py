"""Sign-in and mails stay limited if Valkey counts nothing: down, full (OOM) or a replica (READONLY)."""

from typing import Any

import pytest
from django.test import RequestFactory
from redis import exceptions

from accounts import mail_limits
from accounts.signin import throttles
from lunaos.api import ratelimit
from lunaos.infra import redis
from lunaos.infra.local_counter import LocalCounter

FAULTS = (exceptions.ConnectionError, exceptions.OutOfMemoryError, exceptions.ReadOnlyError)


@pytest.fixture(params=FAULTS, ids=lambda fault: fault.__name__)
def nothing_is_counted(request: Any, database: None, monkeypatch: Any) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise request.param("no")

    monkeypatch.setattr(ratelimit, "_local_counter", LocalCounter())
    monkeypatch.setattr(mail_limits, "_local_counter", LocalCounter())
    monkeypatch.setattr(redis.client(), "execute_command", refuse)
    monkeypatch.setattr("redis.client.Pipeline.execute", refuse)


def attempts(address: str, number: int) -> list[bool]:
    request = RequestFactory().post("/auth/login", REMOTE_ADDR=address)
    return [throttles.count_attempt(request, "login").exceeded for _ in range(number)]


def test_sign_in_attempts_stay_limited(nothing_is_counted: None) -> None:
    assert attempts("203.0.113.7", 12) == [False] * 10 + [True] * 2
    assert attempts("203.0.113.8", 1) == [False]


def test_mails_stay_limited(nothing_is_counted: None) -> None:
    taken = [
        mail_limits.allow("verification", "ann@example.com") for _ in range(mail_limits.MAX_MAILS_OF_KIND_PER_HOUR + 2)
    ]
    assert taken == [True] * mail_limits.MAX_MAILS_OF_KIND_PER_HOUR + [False] * 2
    assert mail_limits.allow("verification", "ben@example.com")


def test_other_rates_fail_open(nothing_is_counted: None) -> None:
    request = RequestFactory().get("/agents/list", REMOTE_ADDR="203.0.113.7")
    assert not any(ratelimit.get_address_window(request, count=True).exceeded for _ in range(70))
