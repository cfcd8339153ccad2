"""Orphaned chains and lost messages, without waiting for beat."""

import signal
from datetime import timedelta
from subprocess import Popen
from typing import Any

import pytest
from celery import Celery
from django.conf import settings
from django.db import OperationalError, connection
from django.db.models.functions import Now

from chains import queue, recovery, tasks
from lunaos.embedded.servers import until
from lunaos.infra import redis
from runs import services
from runs.eventlog import log
from runs.models import Run
from runs.recovery import outages
from testing.client import Api
from testing.loopback.upstream import Upstream


@pytest.fixture
def no_worker(database: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Send messages to a queue without worker, so that tests can count them."""
    app = Celery(broker=settings.CELERY_BROKER_URL, set_as_current=False)
    app.conf.task_default_queue = "unattended"
    monkeypatch.setattr(queue, "current_app", app)
    monkeypatch.setattr(queue, "QUEUE_NAME", "unattended")


def create_chain(user: Any, status: str, *, silent_s: float, **fields: Any) -> Run:
    run = services.create(
        user=user, chain="custom", steps=["code-review", "documentation"], provider="deepseek",
        model="deepseek-chat", text="x", request_id="r", status=status, **fields,
    ).run  # fmt: skip
    Run.objects.filter(pk=run.pk).update(heartbeat_at=Now() - timedelta(seconds=silent_s))
    run.refresh_from_db()
    return run


def state(run: Run) -> tuple[str, int, int]:
    run.refresh_from_db()
    return run.status, run.attempt, run.losses


def test_an_orphan_is_requeued(alice: Any, no_worker: None) -> None:
    orphan, alive = create_chain(alice, "running", silent_s=16), create_chain(alice, "running", silent_s=14)
    tasks.recover_chains()
    assert (state(orphan), state(alive)) == (("queued", 1, 1), ("running", 1, 0))
    assert queue.length() == 1


def test_a_chain_that_keeps_killing_its_workers_is_ended(alice: Any, no_worker: None) -> None:
    run = create_chain(alice, "running", silent_s=16, losses=4)
    recovery.recover()
    assert state(run)[0] == "interrupted"
    assert (run.error_code, run.charge, queue.length()) == ("interrupted", "released", 0)


def test_an_orphan_that_is_to_be_cancelled_is_cancelled(alice: Any, no_worker: None) -> None:
    run = create_chain(alice, "running", silent_s=16)
    Run.objects.filter(pk=run.pk).update(cancel_requested_at=Now())
    recovery.recover()
    assert state(run)[0] == "cancelled"


def test_after_an_outage_of_the_database_all_workers_count_as_alive(
    alice: Any, no_worker: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No worker could renew its lease during the outage."""
    run = create_chain(alice, "running", silent_s=40)
    connection.close()
    with monkeypatch.context() as away:
        away.setitem(connection.settings_dict, "HOST", "/nowhere")
        with pytest.raises(OperationalError):
            recovery.recover()
    recovery.recover()
    assert state(run) == ("running", 1, 0)

    assert 0 < redis.client().pttl(outages.OUTAGE_KEY) <= 15_000
    redis.client().delete(outages.OUTAGE_KEY)
    recovery.recover()
    assert state(run) == ("queued", 1, 1)


def test_an_agents_run_is_not_its_business(alice: Any, no_worker: None) -> None:
    run = create_chain(alice, "running", silent_s=90)
    Run.objects.filter(pk=run.pk).update(chain="", agent="code-review")
    recovery.recover()
    assert state(run) == ("running", 1, 0)


def test_an_error_of_one_chain_does_not_stop_the_others(alice: Any, no_worker: None) -> None:
    odd = create_chain(alice, "running", silent_s=90, losses=4)
    redis.client().set(log.channel(odd.pk), "no stream")
    orphan = create_chain(alice, "running", silent_s=16)
    recovery.recover()
    assert (state(odd)[0], state(orphan)[0]) == ("running", "queued")


def test_a_lost_message_is_sent_again(alice: Any, no_worker: None) -> None:
    lost, fresh = (
        create_chain(alice, "queued", silent_s=6, attempt=0),
        create_chain(alice, "queued", silent_s=4, attempt=0),
    )
    recovery.recover()
    assert queue.length() == 1
    assert (state(lost)[0], state(fresh)[0]) == ("queued", "queued")


def test_in_a_backlog_only_those_that_have_waited_long(alice: Any, no_worker: None) -> None:
    waiting = [create_chain(alice, "queued", silent_s=seconds, attempt=0) for seconds in (10, 299, 301, 900)]
    queue.enqueue(waiting[0].pk)
    recovery.recover()
    assert queue.length() == 3
    recovery.recover()
    assert queue.length() == 3  # not resent again within RESEND_INTERVAL_S


def test_a_duplicate_message_is_ignored(
    api: Api, alice: Any, upstream: Upstream, chains_worker: "Popen[bytes]"
) -> None:
    chains_worker.send_signal(signal.SIGSTOP)
    try:
        run = create_chain(alice, "queued", silent_s=6, attempt=0)
        for _ in range(3):
            queue.enqueue(run.pk)
    finally:
        chains_worker.send_signal(signal.SIGCONT)
    assert until(lambda: state(run)[0] == "succeeded", 10)
    assert until(lambda: queue.length() == 0, 10)
    assert (state(run)[1], len(upstream.requests)) == (1, 2)
