"""POST /runs/{id}/cancel in every state, and disconnecting clients."""

import json
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from subprocess import Popen
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.db import connection as db
from django.db import transaction

from billing.models import MonthlyUsage
from lunaos.embedded.servers import until
from runs import services
from runs.models import Run, RunStep, RunText
from testing.client import Api, Event, error, parse
from testing.loopback.upstream import Answer, Upstream, completion, delta

AGENT = {"agent": "code-review", "context": "x"}
CHAIN = {"steps": [{"agent": "code-review"}, {"agent": "documentation"}], "context": "x"}


def start(api: Api, user: Any, path: str, body: dict[str, Any], until_seen: str) -> str:
    """Start a run, disconnect at the given text, and return the run's id."""
    with api.stream("POST", path, json=body, headers=api.as_(user)) as response:
        seen = ""
        for text in response.iter_text():
            seen += text
            if until_seen in seen:
                break
    return response.headers["X-Run-Id"]


def cancel(api: Api, user: Any, run_id: str) -> dict[str, Any]:
    response = api.post(f"/runs/{run_id}/cancel", headers=api.as_(user))
    assert response.status_code == 200, response.text
    return response.json()["data"]


def follow(api: Api, user: Any, run_id: str) -> list[Event]:
    return parse(api.get(f"/runs/{run_id}/events", headers=api.as_(user)).text)[1]


def test_it_works(api: Api, alice: Any, upstream: Upstream) -> None:
    upstream.respond_with(Answer(pieces=[delta("half "), "hang"]))
    run_id = start(api, alice, "/agents/execute", AGENT, "half")
    run = cancel(api, alice, run_id)

    assert run["status"] in ("running", "cancelled") and run["cancelRequestedAt"]
    assert upstream.client_gone.wait(5)
    *_, chunk, last = follow(api, alice, run_id)
    assert (chunk["content"], last) == ("half ", {"type": "cancelled"})
    stored = Run.objects.get(pk=run_id)
    assert (stored.status, stored.error_code, stored.charge) == ("cancelled", "", "settled")
    assert RunText.objects.get(run_id=run_id).output == "half "


def test_a_reader_sees_the_end(api: Api, alice: Any, upstream: Upstream) -> None:
    upstream.respond_with(Answer(pieces=[delta("half "), "hang"]))
    with api.stream("POST", "/agents/execute", json=AGENT, headers=api.as_(alice)) as response:
        seen = ""
        for text in response.iter_text():
            if "half" in text:
                cancel(api, alice, response.headers["X-Run-Id"])
            seen += text
    assert parse(seen)[1][-1] == {"type": "cancelled"}


def test_a_run_that_a_provider_was_asked_for_counts(api: Api, alice: Any, upstream: Upstream) -> None:
    """The provider has worked on the request, and bills it."""
    upstream.respond_with(Answer(pieces=["hang"]))
    run_id = start(api, alice, "/agents/execute", AGENT, ": keep-alive")
    cancel(api, alice, run_id)
    assert follow(api, alice, run_id) == [{"type": "cancelled"}]
    run = Run.objects.get(pk=run_id)
    assert (run.charge, run.tokens_estimated) == ("settled", True)
    assert run.input_tokens > 0 and run.cost_usd > 0
    assert MonthlyUsage.objects.get(user=alice).executions == 1


def test_staff_who_cancel_a_run_before_its_first_text_cost_the_owner_nothing(
    api: Api, alice: Any, upstream: Upstream
) -> None:
    upstream.respond_with(Answer(pieces=["hang"]))
    run_id = start(api, alice, "/agents/execute", AGENT, ": keep-alive")
    services.cancel(Run.objects.get(pk=run_id), by_staff=True)
    assert follow(api, alice, run_id) == [{"type": "cancelled"}]
    assert Run.objects.get(pk=run_id).charge == "released"
    assert MonthlyUsage.objects.get(user=alice).executions == 0


def test_a_run_that_no_provider_worked_on_is_released(api: Api, alice: Any, upstream: Upstream) -> None:
    """The run is cancelled while the platform waits to retry a refused request."""
    refused = threading.Event()

    def refuse(asked: dict[str, Any]) -> Answer:
        refused.set()
        return Answer(status=503, headers={"Retry-After": "1"})

    upstream.script = refuse
    with connect(api, {**AGENT, "onDisconnect": "cancel"}, alice):
        assert refused.wait(5)
        run_id = str(Run.objects.get(user=alice).pk)
        cancel(api, alice, run_id)
    assert until(lambda: Run.objects.get(pk=run_id).status == "cancelled", 5)
    assert Run.objects.get(pk=run_id).charge == "released"


def test_a_chain_keeps_its_steps(api: Api, alice: Any, upstream: Upstream, chains_worker: None) -> None:
    upstream.respond_with(completion("found"), Answer(pieces=[delta("half "), "hang"]))
    run_id = start(api, alice, "/chains/execute", CHAIN, "half")
    cancel(api, alice, run_id)

    assert upstream.client_gone.wait(5)
    assert follow(api, alice, run_id)[-1] == {"type": "cancelled"}
    steps = RunStep.objects.filter(run_id=run_id).order_by("position")
    assert [(step.status, step.output) for step in steps] == [("succeeded", "found"), ("cancelled", "half ")]
    assert Run.objects.get(pk=run_id).charge == "settled"


def test_a_chain_that_waits_for_a_worker(
    api: Api, alice: Any, upstream: Upstream, chains_worker: "Popen[bytes]"
) -> None:
    chains_worker.send_signal(signal.SIGSTOP)
    try:
        run_id = start(api, alice, "/chains/execute", CHAIN, "chain_start")
        assert cancel(api, alice, run_id)["status"] == "cancelled"
    finally:
        chains_worker.send_signal(signal.SIGCONT)
    assert [event["type"] for event in follow(api, alice, run_id)] == ["chain_start", "cancelled"]
    assert Run.objects.get(pk=run_id).charge == "released"
    assert upstream.requests == []


@pytest.mark.parametrize("answer", [completion("all"), Answer(status=401)])
def test_a_run_that_has_ended_stays_as_it_is(api: Api, alice: Any, upstream: Upstream, answer: Answer) -> None:
    upstream.respond_with(answer)
    run_id = api.execute(alice).headers["X-Run-Id"]
    before = api.get(f"/runs/{run_id}", headers=api.as_(alice)).json()["data"]
    cancel(api, alice, run_id)
    assert api.get(f"/runs/{run_id}", headers=api.as_(alice)).json()["data"] == before
    assert follow(api, alice, run_id)[-1]["type"] in ("done", "error")


def test_a_second_cancel_changes_nothing(api: Api, alice: Any, upstream: Upstream) -> None:
    upstream.respond_with(Answer(pieces=[delta("half "), "hang"]))
    run_id = start(api, alice, "/agents/execute", AGENT, "half")
    asked = cancel(api, alice, run_id)["cancelRequestedAt"]
    assert cancel(api, alice, run_id)["cancelRequestedAt"] == asked
    assert follow(api, alice, run_id)[-1] == {"type": "cancelled"}
    assert cancel(api, alice, run_id)["status"] == "cancelled"
    assert MonthlyUsage.objects.get(user=alice).executions == 1


def test_another_users_run_is_not_there(api: Api, alice: Any, charlie: Any, upstream: Upstream) -> None:
    upstream.respond_with(Answer(pieces=[delta("half "), "hang"]))
    run_id = start(api, alice, "/agents/execute", AGENT, "half")
    assert error(api.post(f"/runs/{run_id}/cancel", headers=api.as_(charlie))) == (404, "not_found")
    assert error(api.post(f"/runs/{run_id}/cancel")) == (401, "not_authenticated")
    assert Run.objects.get(pk=run_id).cancel_requested_at is None
    cancel(api, alice, run_id)


def test_a_node_whose_clock_is_behind_the_one_that_began(alice: Any) -> None:
    run = services.create(
        user=alice, chain="custom", steps=["code-review"], provider="deepseek", model="deepseek-chat", text="x",
        request_id="r", status="queued",
    ).run  # fmt: skip
    Run.objects.filter(pk=run.pk).update(created_at=datetime.now(UTC) + timedelta(seconds=5))
    run.refresh_from_db()
    services.cancel(run)
    run.refresh_from_db()
    assert (run.status, run.duration_ms, run.charge) == ("cancelled", 0, "released")


# -- Disconnecting clients ---------------------------------------------------------------------------------------------


@contextmanager
def connect(api: Api, body: dict[str, Any], user: Any) -> Iterator[None]:
    """Send a request, and disconnect without reading a byte of the response."""
    address, content = urlsplit(str(api.base_url)), json.dumps(body)
    head = f"POST /agents/execute HTTP/1.1\r\nHost: localhost\r\nAuthorization: {api.as_(user)['Authorization']}\r\n"
    head += f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
    with socket.create_connection((address.hostname, address.port)) as connection:
        connection.sendall((head + content).encode())
        yield


@pytest.mark.parametrize(("path", "body"), [("/agents/execute", AGENT), ("/chains/execute", CHAIN)])
def test_a_disconnect_cancels_if_requested(
    api: Api, alice: Any, upstream: Upstream, chains_worker: None, path: str, body: dict[str, Any]
) -> None:
    upstream.respond_with(Answer(pieces=[delta("half "), "hang"]))
    run_id = start(api, alice, path, {**body, "onDisconnect": "cancel"}, "half")
    assert upstream.client_gone.wait(5)
    assert follow(api, alice, run_id)[-1] == {"type": "cancelled"}
    assert Run.objects.get(pk=run_id).charge == "settled"


def test_a_disconnect_before_the_stream_opens_cancels(api: Api, alice: Any, upstream: Upstream) -> None:
    upstream.respond_with(Answer(pieces=["hang"]))
    with connect(api, {**AGENT, "onDisconnect": "cancel"}, alice):
        assert until(lambda: bool(upstream.requests), 5)

    assert upstream.client_gone.wait(5)
    assert until(lambda: Run.objects.get(user=alice).status == "cancelled", 5)
    assert Run.objects.get(user=alice).charge == "settled"


def test_a_disconnect_before_the_start_cancels_the_run(api: Api, alice: Any, upstream: Upstream) -> None:
    """The view goes on in its thread: it waits for a lock on the user's quota row."""
    upstream.respond_with(Answer(pieces=["hang"]))
    with transaction.atomic():
        MonthlyUsage.objects.create(user=alice, month=datetime.now(UTC).date().replace(day=1))
        with connect(api, {**AGENT, "onDisconnect": "cancel"}, alice):
            assert until(lambda: count_lock_waits() == 1, 5)
    assert until(lambda: Run.objects.filter(user=alice, status="cancelled").exists(), 5)
    charge = "settled" if upstream.requests else "released"  # the cancellation races with the request to the provider
    assert Run.objects.get(user=alice).charge == charge


def count_lock_waits() -> int:
    with db.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        )
        return int(cursor.fetchone()[0])


def test_reading_to_the_end_cancels_nothing(api: Api, alice: Any, upstream: Upstream) -> None:
    run_id = api.execute(alice, onDisconnect="cancel").headers["X-Run-Id"]
    assert Run.objects.get(pk=run_id).status == "succeeded"
    assert Run.objects.get(pk=run_id).cancel_requested_at is None
