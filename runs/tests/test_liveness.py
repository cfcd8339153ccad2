"""The liveness lock distinguishes a dead process from a silent one."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.db.models.functions import Now

from lunaos.infra import redis
from runs import outcomes, services
from runs.models import Run
from runs.recovery import leases, liveness, outages

OTHER = 7


@pytest.fixture(autouse=True)
def ignore_postgresql_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ignore the time of PostgreSQL's start, which may be a moment ago."""
    monkeypatch.setattr(liveness, "EXECUTOR_IS_DEAD", liveness.EXECUTOR_IS_DEAD.replace("20 seconds", "0 seconds"))


@pytest.fixture
def session(database: None) -> Iterator[Any]:
    """Return a database session that stands for another process."""
    other = connection.copy()
    yield other
    other.close()


def create_run(user: Any, *, executor: int | None, silent_s: float) -> Run:
    fields: dict[str, Any] = {"agent": "run", "provider": "deepseek", "model": "m", "text": "in", "request_id": "r"}
    run = services.create(user=user, **fields).run
    Run.objects.filter(pk=run.pk).update(executor=executor, heartbeat_at=Now() - timedelta(seconds=silent_s))
    return run


def read_status(run: Run) -> str:
    return str(Run.objects.get(pk=run.pk).status)


def test_a_run_names_its_process_and_a_chain_does_not(alice: Any) -> None:
    fields: dict[str, Any] = {"provider": "deepseek", "model": "m", "text": "in", "request_id": "r"}
    assert services.create(user=alice, agent="run", **fields).run.executor == liveness.PROCESS_NUMBER
    assert services.create(user=alice, chain="custom", steps=["run"], **fields).run.executor is None


def test_a_dead_process_differs_from_a_silent_one(alice: Any, session: Any) -> None:
    with session.cursor() as cursor:
        cursor.execute(liveness.TAKE_LOCK, [liveness.LOCK_SPACE, OTHER])
    dead, silent = create_run(alice, executor=OTHER + 1, silent_s=16), create_run(alice, executor=OTHER, silent_s=16)
    fresh, old = create_run(alice, executor=OTHER + 1, silent_s=14), create_run(alice, executor=None, silent_s=16)
    assert outcomes.end_abandoned(60) == 1
    assert [read_status(run) for run in (dead, silent, fresh, old)] == ["interrupted", "running", "running", "running"]

    with connection.cursor() as cursor:  # a close alone does not wait for the release of the lock
        cursor.execute("SELECT pg_terminate_backend(%s, 5000)", [session.connection.info.backend_pid])
    assert outcomes.end_abandoned(60) == 1
    assert read_status(silent) == "interrupted"


def test_no_process_counts_as_dead_after_a_start_of_postgresql(alice: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(liveness, "EXECUTOR_IS_DEAD", liveness.EXECUTOR_IS_DEAD.replace("0 seconds", "100 years"))
    run = create_run(alice, executor=OTHER, silent_s=16)
    assert outcomes.end_abandoned(60) == 0
    assert read_status(run) == "running"


def test_this_process_holds_its_lock_and_takes_it_again(database: None) -> None:
    def holders() -> list[int]:
        sql = "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND classid = %s AND objid = %s"
        with connection.cursor() as cursor:
            return [pid for (pid,) in cursor.execute(sql, [liveness.LOCK_SPACE, liveness.PROCESS_NUMBER]).fetchall()]

    liveness.hold_lock()
    liveness.hold_lock()
    (holder,) = holders()
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s, 5000)", [holder])
    assert holders() == []
    liveness.hold_lock()
    assert len(holders()) == 1 and holders() != [holder]


def test_no_process_counts_as_dead_after_an_outage(alice: Any) -> None:
    """No process could renew a lease during the outage."""
    run = create_run(alice, executor=None, silent_s=61)
    redis.client().set(outages.OUTAGE_KEY, 1)
    assert outcomes.end_abandoned(60) == 0
    redis.client().delete(outages.OUTAGE_KEY)
    assert outcomes.end_abandoned(60) == 1
    assert read_status(run) == "interrupted"


def test_a_slow_query_is_an_outage(database: None, monkeypatch: pytest.MonkeyPatch) -> None:
    assert outages.run_query(lambda: 1) == 1
    assert not outages.is_recent()
    monkeypatch.setattr(outages, "SLOW_QUERY_S", -1.0)
    assert outages.run_query(lambda: 2) == 2
    assert outages.is_recent()


def test_a_locked_row_does_not_delay_other_heartbeats(alice: Any, session: Any) -> None:
    locked, free = create_run(alice, executor=OTHER, silent_s=30), create_run(alice, executor=OTHER, silent_s=30)
    session.set_autocommit(False)
    with session.cursor() as cursor:
        cursor.execute("SELECT 1 FROM runs_run WHERE id = %s FOR UPDATE", [locked.pk])
        assert leases.renew({locked.pk: 1, free.pk: 1}) == {locked.pk: False, free.pk: False}
    assert set(leases.expired(20)) == {locked}
    session.rollback()
