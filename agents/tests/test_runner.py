"""An execution in this process: what breaks it off, and when."""

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import OperationalError

from agents import runner, services
from agents.providers import Provider, Target, connections
from agents.runner import Completion
from lunaos.infra import event_loop
from runs import executors
from runs import services as runs
from runs.eventlog.recorder import Recorder, RunEvent, StopReason
from runs.models import Run
from runs.outcomes import Outcome
from testing.loopback.upstream import Answer as Scripted
from testing.loopback.upstream import Upstream, delta


@pytest.fixture(autouse=True, scope="module")
def clients() -> Iterator[None]:
    """Close this process's connections to the provider at the end of the module."""
    yield
    event_loop.submit(connections.close_all()).result(5)


def begin(user: Any, upstream: Any) -> tuple[Run, Recorder, executors.Execute]:
    agent = services.get_agent("code-review")
    fields = {"provider": "deepseek", "model": "deepseek-chat", "request_id": "r"}
    run = runs.create(user=user, text="x", agent=agent.slug, **fields).run  # type: ignore[arg-type]
    target = Target(Provider("deepseek", upstream.base_url, "key"), "deepseek-chat")
    answer = Completion([target], services.build_prompt(agent, "x"), time.perf_counter())
    return run, Recorder(run.pk), partial(runner.execute, run, answer)


def state(run: Run) -> tuple[str, str]:
    run.refresh_from_db()
    return run.status, run.charge


def test_it_works(alice: Any, upstream: Upstream) -> None:
    run, recorder, execute = begin(alice, upstream)
    executors.submit(recorder, execute).result(10)
    assert state(run) == ("succeeded", "settled")
    assert recorder.closed and executors.find_recorder(run.pk) is None


def test_a_database_that_refuses_an_answers_end_makes_it_no_failure(
    alice: Any, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, recorder, execute = begin(alice, upstream)
    statuses: list[str] = []

    async def refuse(run: Run, recorder: Recorder, outcome: Outcome, last: RunEvent) -> None:
        statuses.append(outcome.status)
        raise OperationalError("cannot execute UPDATE in a read-only transaction")

    monkeypatch.setattr(executors, "finish", refuse)
    with pytest.raises(OperationalError):
        executors.submit(recorder, execute).result(10)
    assert statuses == ["succeeded"]


@pytest.mark.parametrize(
    ("why", "expected"),
    [
        (StopReason.CANCELLED, ("cancelled", "released")),
        (StopReason.SHUTTING_DOWN, ("interrupted", "released")),
        (StopReason.LEASE_LOST, ("running", "reserved")),
    ],
)
def test_a_run_stopped_before_its_start(
    alice: Any, upstream: Upstream, why: StopReason, expected: tuple[str, str]
) -> None:
    run, recorder, execute = begin(alice, upstream)
    recorder.request_stop(why)
    executors.submit(recorder, execute).result(10)
    assert state(run) == expected


@pytest.mark.parametrize(("grace_s", "expected"), [(0.0, ("interrupted", "settled")), (10.0, ("succeeded", "settled"))])
def test_a_process_that_stops_gives_its_runs_a_grace(
    alice: Any, upstream: Upstream, grace_s: float, expected: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(executors, "_shutting_down", threading.Event())  # this process goes on
    upstream.respond_with(Scripted(pieces=[delta("half "), "wait", delta("done", "stop")]))
    run, recorder, execute = begin(alice, upstream)
    future = executors.submit(recorder, execute)

    async def first_chunk() -> None:
        while not recorder.shown:
            await asyncio.sleep(0.01)

    event_loop.submit(first_chunk()).result(10)
    leaving = event_loop.submit(executors.shut_down(grace_s))
    if grace_s:
        upstream.resume.set()
    leaving.result(10)
    future.result(10)
    assert state(run) == expected


def test_a_run_delivered_twice_is_executed_once(alice: Any, upstream: Upstream) -> None:
    upstream.respond_with(Scripted(pieces=[delta("half "), "wait", delta("done", "stop")]))
    run, recorder, execute = begin(alice, upstream)
    first = executors.submit(recorder, execute)
    executors.submit(Recorder(run.pk), execute).result(10)
    assert executors.find_recorder(run.pk) is recorder
    upstream.resume.set()
    first.result(10)
    assert (state(run)[0], len(upstream.requests)) == ("succeeded", 1)


@pytest.mark.parametrize(("accepts", "charge"), [(True, "settled"), (False, "released")])
def test_a_cancelled_run_counts_where_the_request_has_left(alice: Any, accepts: bool, charge: str) -> None:
    """A provider that takes the request and says nothing may bill it; one that cannot be connected to does not."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server, ExitStack() as waiting:
        if not accepts:  # what the queue of connections holds; further ones are not answered
            for _ in range(4):
                client = waiting.enter_context(socket.socket())
                client.setblocking(False)
                client.connect_ex(server.getsockname())
        run, recorder, execute = begin(
            alice, SimpleNamespace(base_url=f"http://127.0.0.1:{server.getsockname()[1]}/v1")
        )
        future = executors.submit(recorder, execute)
        if accepts:
            connection = waiting.enter_context(server.accept()[0])
            assert b"code" in connection.recv(65_536)
        event_loop.submit(connecting(recorder)).result(10)
        event_loop.get().call_soon_threadsafe(recorder.request_stop, StopReason.CANCELLED)
        future.result(10)
    assert state(run) == ("cancelled", charge)
    assert (run.input_tokens > 0) == accepts


async def connecting(recorder: Recorder) -> None:
    """Wait until the run's task waits for the network."""
    while recorder.task is None or not recorder.task.get_stack():
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.1)
