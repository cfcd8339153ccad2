"""A rolling restart: this release finishes the work of the release before it.

`recorded/release_before.json` was recorded on commit a98e278: a chain whose worker was killed in its second step, a
queued chain, and the messages that the release put into the queues. Record a new file for each release: run a chain,
kill its worker, then read the rows, the keys of the run, and the lists of the queues.
"""

import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import connection

from accounts.models import User
from lunaos import processes
from lunaos.celery import app
from lunaos.embedded.servers import until
from lunaos.infra import redis
from runs.models import Run
from testing.client import Api, parse
from testing.loopback.upstream import Upstream, completion
from testing.mailbox import Mailbox

RECORDED: dict[str, Any] = json.loads((Path(__file__).parent / "recorded" / "release_before.json").read_text())
FINISHED_WITHIN_S = 60
NOW = datetime.now(UTC)  # equal for all rows: a run's texts and steps have its expires_at


def insert(table: str, row: dict[str, Any]) -> None:
    columns = ", ".join(row)
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {table} ({columns}) SELECT {columns} FROM json_populate_record(NULL::{table}, %s)",
            [json.dumps(row, default=str)],
        )


def moved_to_now(row: dict[str, Any]) -> dict[str, Any]:
    """Return a recorded row with times of today: leases expired, texts kept."""
    month = NOW.date().replace(day=1)
    times: dict[str, date] = {
        "created_at": NOW,
        "heartbeat_at": NOW - timedelta(minutes=1),
        "expires_at": NOW + timedelta(days=89),
    }
    times |= {"charged_month": month, "month": month}
    return row | {name: value for name, value in times.items() if name in row}


@pytest.fixture
def alice(database: None) -> User:
    """Return the owner of what the release before has left."""
    for table, rows in RECORDED["rows"].items():
        for row in rows:
            insert(table, moved_to_now(row))
    client = redis.client()
    for key, (kind, content) in RECORDED["logs"].items():
        if kind == "stream":
            for position, fields in content:
                client.xadd(key, fields, id=position)
        else:
            client.set(key, content)
    return User.objects.get(pk=RECORDED["rows"]["accounts_user"][0]["id"])


def enqueue_recorded() -> None:
    for queue, messages in RECORDED["messages"].items():
        redis.client().rpush(queue, *map(json.dumps, messages))


def status_of(run_id: str) -> str:
    return Run.objects.get(pk=run_id).status


def test_what_the_release_before_left_is_finished(
    api: Api, alice: User, upstream: Upstream, chains_worker: Any, mailbox: Mailbox
) -> None:
    upstream.respond_with(completion("documented"))
    enqueue_recorded()
    unfinished, queued = RECORDED["unfinished"], RECORDED["queued"]

    assert len(mailbox.of(alice)) == 2  # a welcome, and a changed password
    assert until(lambda: {status_of(unfinished), status_of(queued)} == {"succeeded"}, FINISHED_WITHIN_S)
    assert len(upstream.requests) == 2  # the first step of the unfinished chain is not repeated

    stream = api.get(f"/runs/{unfinished}/events", headers=api.as_(alice))
    positions, events = parse(stream.text)
    assert positions == list(range(1, len(events) + 1))
    assert (events[0]["type"], events[-1]["type"]) == ("chain_start", "chain_done")
    steps = api.get(f"/runs/{unfinished}", headers=api.as_(alice)).json()["data"]["steps"]
    assert [step["status"] for step in steps] == ["succeeded", "succeeded"]


def test_every_queue_of_the_release_before_has_a_worker() -> None:
    assert set(RECORDED["messages"]) <= {queue for queue, *_ in processes.QUEUES.values()}


def test_every_task_of_the_release_before_is_known() -> None:
    app.loader.import_default_modules()
    sent = {message["headers"]["task"] for messages in RECORDED["messages"].values() for message in messages}
    assert len(sent) >= 5 and sent <= set(app.tasks)
