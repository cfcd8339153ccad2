"""Counts of refused requests: one row a minute, owner, key and code, whatever the number of requests."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest
import structlog
from django.db import OperationalError, connection

from lunaos.infra.observability import metrics
from refusals import recorder
from refusals.models import MAX_MESSAGE_CHARACTERS, Refusal


@pytest.fixture(autouse=True)
def write_by_hand(database: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Write only when a test says so."""
    monkeypatch.setattr(recorder, "_schedule_write", lambda: None)
    recorder._take()
    yield
    recorder._take()
    structlog.contextvars.clear_contextvars()


def refuse(
    user: Any, *, code: str = "quota_exceeded", request: str = "r", key: UUID | None = None, **words: str
) -> None:
    structlog.contextvars.bind_contextvars(request_id=request)
    prefix = f"lnos_live_{key.hex[:8]}" if key else ""
    recorder.count(user_id=user.pk, key_id=key, key_prefix=prefix, code=code, message=words.get("message", "No."))


def dropped(reason: str) -> float:
    return float(metrics.REFUSALS_DROPPED.labels(reason)._value.get())


def test_it_works(alice: Any) -> None:
    key = uuid4()
    for number in range(3):
        refuse(alice, key=key, request=f"r{number}", message=f"Sentence {number}.")
    recorder.write()
    row = Refusal.objects.get()
    assert (row.user, row.key_id, row.key_prefix) == (alice, key, f"lnos_live_{key.hex[:8]}")
    assert (row.code, row.count, row.first_request_id, row.last_request_id) == ("quota_exceeded", 3, "r0", "r2")
    assert row.message == "Sentence 2." and row.minute.second == 0
    assert (datetime.now(UTC) - row.minute).total_seconds() < 120


def test_each_credential_and_code_has_its_row(alice: Any, bob: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    key = uuid4()
    refuse(alice)
    refuse(alice, code="pro_required")
    refuse(alice, key=key)
    refuse(bob)
    recorder.write()
    rows = {(row.user.name, row.key_id, row.code) for row in Refusal.objects.all()}
    assert rows == {
        *(("Alice", None, "quota_exceeded"), ("Alice", None, "pro_required")),
        *(("Alice", key, "quota_exceeded"), ("Bob", None, "quota_exceeded")),
    }


def test_processes_add_to_the_same_row(alice: Any) -> None:
    refuse(alice, request="first")
    recorder.write()
    refuse(alice, request="last")
    recorder.write()
    row = Refusal.objects.get()
    assert (row.count, row.first_request_id, row.last_request_id) == (2, "first", "last")


def test_a_flood_is_one_statement(alice: Any, django_assert_num_queries: Any) -> None:
    for _ in range(6_000):
        refuse(alice)
    with django_assert_num_queries(1):
        recorder.write()
    assert Refusal.objects.get().count == 6_000


def test_nothing_is_written_without_refusals(database: None, django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(0):
        recorder.write()


def test_an_owner_has_so_many_rows_a_minute(alice: Any, bob: Any) -> None:
    """Thousands of revoked keys do not fill the table, also across writes; the other owner has room."""
    before = dropped("memory")
    for number in range(recorder.MAX_ROWS_PER_OWNER + 2):
        refuse(alice, code=f"code_{number}")
        recorder.write()
    refuse(alice, code="code_0")
    refuse(bob)
    recorder.write()
    assert Refusal.objects.filter(user=alice).count() == recorder.MAX_ROWS_PER_OWNER
    assert Refusal.objects.get(user=alice, code="code_0").count == 2
    assert Refusal.objects.get(user=bob).count == 1
    assert dropped("memory") - before == 2


def test_a_process_has_so_many_rows_a_minute(make_user: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder, "_minute", datetime.min.replace(tzinfo=UTC))
    monkeypatch.setattr(recorder, "MAX_ROWS_PER_MINUTE", 2)
    before = dropped("memory")
    for name in ("a", "b", "c"):
        refuse(make_user(name))
    recorder.write()
    assert Refusal.objects.count() == 2 and dropped("memory") - before == 1


def test_without_a_database_counts_are_dropped(alice: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    before = dropped("database")
    for _ in range(5):
        refuse(alice)
    with monkeypatch.context() as broken:
        broken.setattr(connection, "cursor", lambda: (_ for _ in ()).throw(OperationalError("down")))
        recorder.write()
    recorder.write()
    assert dropped("database") - before == 5
    assert not Refusal.objects.exists()


def test_a_deleted_user_leaves_no_row(alice: Any, bob: Any) -> None:
    refuse(alice)
    refuse(bob)
    alice.delete()
    recorder.write()
    assert Refusal.objects.get().user == bob


def test_a_message_of_any_kind_is_stored(alice: Any) -> None:
    refuse(alice, message="a\0b\ud800" + "x" * 400)
    recorder.write()
    assert Refusal.objects.get().message == ("ab?" + "x" * 400)[:MAX_MESSAGE_CHARACTERS]


def test_the_end_of_the_process_writes(alice: Any) -> None:
    refuse(alice)
    asyncio.run(recorder.write_at_exit())
    assert Refusal.objects.get().count == 1
