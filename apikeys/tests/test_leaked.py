"""POST /api-keys/revoke-leaked: a report revokes a key, without a sign-in."""

from typing import Any

import pytest

from accounts.models import AuditEvent
from apikeys.models import ApiKey
from testing.client import Api, error
from testing.mailbox import Mailbox, get_text


def report(api: Api, key: str) -> Any:
    return api.post("/api-keys/revoke-leaked", json={"key": key})


def test_it_works(api: Api, alice: Any, mailbox: Mailbox) -> None:
    headers = api.with_key(alice)
    value = headers["Authorization"].removeprefix("Bearer ")
    assert report(api, value).status_code == 200
    assert error(api.get("/auth/me", headers=headers)) == (401, "api_key_invalid")
    (mail,) = mailbox.of(alice)
    assert mail["Subject"] == "A LunaOS API key of yours was found and revoked"
    assert value[:18] in get_text(mail) and value not in get_text(mail)
    event = AuditEvent.objects.get(subject_id=alice.pk, action="key.reported_leaked")
    assert event.actor_id is None and event.details == {"key": value[:18]}


def test_a_second_report_sends_no_second_mail(api: Api, alice: Any, mailbox: Mailbox) -> None:
    value = api.with_key(alice)["Authorization"].removeprefix("Bearer ")
    assert report(api, value).json() == report(api, value).json()
    assert len(mailbox.of(alice)) == 1


@pytest.mark.parametrize("value", ["lnos_live_" + "0" * 32, "sk-something", "x"])
def test_the_answer_does_not_reveal_keys(api: Api, alice: Any, value: str) -> None:
    known = api.with_key(alice)["Authorization"].removeprefix("Bearer ")
    assert report(api, value).json() == report(api, known).json()
    assert ApiKey.objects.filter(revoked_at=None).count() == 0


@pytest.mark.parametrize("body", [{}, {"key": ""}, {"key": "x" * 129}, {"key": None}])
def test_bad_input(api: Api, body: dict[str, Any]) -> None:
    assert error(api.post("/api-keys/revoke-leaked", json=body)) == (400, "validation_error")
