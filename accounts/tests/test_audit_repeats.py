"""Equal audit rows within a minute: one row, and one summary with their count."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.db.models import F

from accounts.auditlog import trail
from accounts.auditlog.trail import Action
from accounts.models import AuditEvent, AuditRepeat
from lunaos.infra import client_info
from lunaos.infra.client_info import ClientInfo
from testing.client import Api


@pytest.fixture
def before(database: None) -> int:
    """Return the number of the last row that other tests have left."""
    return int(trail.head().partition(":")[0] or 0)


def rows(before: int) -> list[AuditEvent]:
    return list(AuditEvent.objects.filter(pk__gt=before).order_by("pk"))


def pass_a_minute() -> None:
    AuditRepeat.objects.update(ends_at=F("ends_at") - timedelta(minutes=1))


def refuse(user: Any, **details: Any) -> None:
    trail.record_on_commit(Action.RUN_REFUSED, actor=user, subject=user, **(details or {"reason": "pro_required"}))


def test_it_works(alice: Any, before: int) -> None:
    for _ in range(50):
        refuse(alice)
    assert [row.details for row in rows(before)] == [{"reason": "pro_required"}]
    assert trail.summarise() == 0  # the minute has not passed
    pass_a_minute()
    assert trail.summarise() == 1
    first, summary = rows(before)
    assert first.details == {"reason": "pro_required"}  # as it was
    assert summary.details == {"reason": "pro_required", "repeated": 49}
    assert (summary.action, summary.actor_id, summary.subject_id) == ("run.refused", alice.pk, alice.pk)
    assert trail.verify().broken is None
    assert not AuditRepeat.objects.exists() and trail.summarise() == 0


def test_a_row_that_was_not_repeated_has_no_summary(alice: Any, before: int) -> None:
    refuse(alice)
    pass_a_minute()
    refuse(alice)
    pass_a_minute()
    assert trail.summarise() == 0
    assert len(rows(before)) == 2


def test_a_count_without_a_summary_goes_on(alice: Any, before: int) -> None:
    for _ in range(3):
        refuse(alice)
    pass_a_minute()
    refuse(alice)
    assert trail.summarise() == 1
    assert [row.details.get("repeated") for row in rows(before)] == [None, 3]


def test_different_rows_are_all_written(alice: Any, charlie: Any, before: int) -> None:
    refuse(alice, reason="a")
    refuse(alice, reason="b")
    refuse(charlie, reason="a")
    for address in ("203.0.113.7", "203.0.113.8"):
        client_info.set_current(address=address, user_agent="x")
        refuse(alice, reason="a")
    assert len(rows(before)) == 5


def test_request_id_and_user_agent_make_no_difference(alice: Any, before: int) -> None:
    for n in range(5):
        client_info.set_current(address=f"2001:db8:1:2::{n}", user_agent=f"agent {n}")
        refuse(alice)
    assert len(rows(before)) == 1


def test_equal_rows_of_parallel_requests(alice: Any, before: int) -> None:
    def write(_: int) -> None:
        for _ in range(5):
            refuse(alice)
        connection.close()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(8)))
    pass_a_minute()
    trail.summarise()
    assert [row.details.get("repeated") for row in rows(before)] == [None, 39]


def test_a_summary_has_the_address(alice: Any, before: int) -> None:
    client_info.set_current(address="203.0.113.7", user_agent="curl/8")
    for _ in range(2):
        refuse(alice)
    pass_a_minute()
    trail.summarise()
    assert [trail.client_info_of(row) for row in rows(before)] == [ClientInfo("203.0.113.7", "curl/8")] * 2


def test_pending_repeats_lose_the_address_of_a_deleted_account(alice: Any, before: int) -> None:
    client_info.set_current(address="203.0.113.7", user_agent="curl/8")
    for _ in range(2):
        refuse(alice)
    trail.anonymise(alice.pk)
    assert "203.0.113.7" not in str(AuditRepeat.objects.get().row)
    trail.record_on_commit(Action.DELETED, subject=alice)  # why the origin of the first is gone
    pass_a_minute()
    trail.summarise()
    found = [row for row in rows(before) if row.action == Action.RUN_REFUSED]
    assert [trail.client_info_of(row) for row in found] == [ClientInfo(), ClientInfo()]
    assert trail.verify().broken is None


def test_failed_sign_ins_make_few_rows(api: Api, alice: Any, before: int) -> None:
    for _ in range(6):
        api.post("/auth/login", json={"email": alice.email, "password": "a wrong one"})
    pass_a_minute()
    trail.summarise()
    failed = [row.details for row in rows(before) if row.action == Action.LOGIN_FAILED]
    assert failed == [{"locked": False}, {"locked": False, "repeated": 5}]
