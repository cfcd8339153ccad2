"""Refusals in a user's export, and their deletion with the account."""

from datetime import UTC, datetime, timedelta
from typing import Any

from accounts.privacy import deletion
from accounts.privacy.registry import data_sources
from refusals import privacy
from refusals.models import RETENTION, Refusal


def add(user: Any, minute: datetime) -> Refusal:
    return Refusal.objects.create(user=user, minute=minute, code="pro_required", count=2, last_request_id="r2")


def exported(user: Any) -> list[Any]:
    [(name, rows)] = privacy.export(user)
    assert name == "refusals"
    return list(rows)


def test_it_works(alice: Any, bob: Any) -> None:
    now = datetime.now(UTC)
    add(bob, now)
    add(alice, now - RETENTION - timedelta(minutes=1))
    shown = add(alice, now)
    [row] = exported(alice)
    assert row == {
        **{"minute": shown.minute, "keyId": None, "keyPrefix": "", "code": "pro_required", "count": 2},
        **{"firstRequestId": "", "lastRequestId": "r2", "message": ""},
    }


def test_they_go_with_the_account(alice: Any, bob: Any) -> None:
    """Also those that are not shown any more."""
    for user in (alice, bob):
        add(user, datetime.now(UTC))
        add(user, datetime.now(UTC) - 2 * RETENTION)
    assert deletion.delete_account(alice)
    assert {row.user for row in Refusal.objects.all()} == {bob}
    assert Refusal.objects.count() == 2


def test_they_are_a_data_source() -> None:
    assert privacy in data_sources()
