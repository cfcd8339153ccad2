"""The recorder and its writer with a real Valkey."""

import asyncio
import uuid
from collections.abc import Coroutine
from typing import Any

import orjson
import pytest

from lunaos.infra import event_loop, redis
from runs.errors import OutputTooLong
from runs.eventlog import log
from runs.eventlog.recorder import Recorder, StopReason

pytestmark = pytest.mark.usefixtures("database")


def run_on_loop(coroutine: Coroutine[Any, Any, Any]) -> Any:
    return event_loop.submit(coroutine).result(20)


def event(n: int) -> dict[str, Any]:
    return {"type": "chunk", "content": str(n)}


def line(n: int) -> bytes:
    return orjson.dumps(event(n))


def recorder(attempt: int = 1) -> Recorder:
    return Recorder(uuid.uuid4(), attempt)


async def logged(run: Recorder) -> list[tuple[int, bytes]]:
    return await log.read(run.run_id)


def test_events_are_in_the_log_before_they_are_shown() -> None:
    async def run() -> None:
        writes = recorder()
        writes.record(event(1), event(2))
        assert writes.shown == 0
        await writes.flush()
        assert (writes.shown, writes.logged) == (2, 2)
        assert await logged(writes) == [(1, line(1)), (2, line(2))]

    run_on_loop(run())


def test_many_runs_share_a_round_trip() -> None:
    async def run() -> None:
        several = [recorder() for _ in range(20)]
        for n, writes in enumerate(several):
            writes.record(event(n))
        await several[0].flush()
        assert all(writes.logged == 1 for writes in several)

    run_on_loop(run())


def test_events_during_a_round_trip_go_with_the_next() -> None:
    async def run() -> None:
        writes = recorder()
        for n in range(1, 200):
            writes.record(event(n))
            await asyncio.sleep(0)
        await writes.flush()
        assert [position for position, _ in await logged(writes)] == list(range(1, 200))
        entries: Any = await redis.async_client().xlen(log.channel(writes.run_id))
        assert entries < 50

    run_on_loop(run())


def test_an_append_of_another_execution_stops_this_one() -> None:
    async def run() -> None:
        writes = recorder()
        writes.record(event(1))
        await writes.flush()
        await log.append(log.AppendRequest(writes.run_id, 1, [line(2)], 1))
        writes.record(event(3))
        await writes.flush()
        assert writes.stop_reason is StopReason.LEASE_LOST
        assert await logged(writes) == [(1, line(1)), (2, line(2))]

    run_on_loop(run())


def test_a_fenced_execution_is_refused_even_at_the_right_position() -> None:
    async def run() -> None:
        old, new = recorder(), recorder(2)
        new.run_id = old.run_id
        old.record(event(1))
        await old.flush()
        new.load_log([entry for _, entry in await log.fence(old.run_id, 2)])
        old.record(event(2))
        await old.flush()
        assert old.stop_reason is StopReason.LEASE_LOST
        new.record(event(3))
        await new.flush()
        assert (new.stop_reason, await logged(new)) == (None, [(1, line(1)), (2, line(3))])

    run_on_loop(run())


def test_events_that_the_server_has_lost_are_appended_again() -> None:
    async def run() -> None:
        writes = recorder()
        writes.record(event(1), event(2))
        await writes.flush()
        await redis.async_client().delete(log.channel(writes.run_id))
        writes.record(event(3))
        await writes.flush()
        assert await logged(writes) == [(1, line(1)), (2, line(2)), (3, line(3))]

    run_on_loop(run())


def test_an_append_with_a_lost_response_is_not_repeated() -> None:
    async def run() -> None:
        writes = recorder()
        # By hand: a recorded event would be appended by the writer, too. The append succeeds, its response is lost.
        await log.append(log.AppendRequest(writes.run_id, after=0, lines=[line(1)], attempt=1))
        writes.on_append_failed()
        writes.record(event(1), event(2))
        await writes.flush()
        assert (writes.stop_reason, await logged(writes)) == (None, [(1, line(1)), (2, line(2))])

    run_on_loop(run())


def test_an_error_of_one_log_does_not_affect_the_others() -> None:
    async def run() -> None:
        odd, good = recorder(), recorder()
        await redis.async_client().set(log.channel(odd.run_id), "no stream")
        odd.record(event(1))
        good.record(event(1))
        await good.flush()
        assert (good.logged, good.shown) == (1, 1)
        assert (odd.logged, odd.shown) == (0, 1)  # readers in this process see the event

    run_on_loop(run())


def test_readers_are_woken() -> None:
    async def run() -> None:
        writes, news = recorder(), asyncio.Event()
        writes.readers.add(news)
        writes.record(event(1))
        await asyncio.wait_for(news.wait(), 5)
        assert writes.shown == 1

    run_on_loop(run())


def test_the_last_event_is_shown_at_once() -> None:
    async def run() -> None:
        writes = recorder()
        writes.append_terminal(line(1))
        assert writes.shown == 1
        await writes.flush()
        assert await logged(writes) == [(1, line(1))]

    run_on_loop(run())


def test_an_endless_answer_is_refused(settings: Any) -> None:
    settings.EVENT_LOG_MAX_BYTES = 100

    async def run() -> None:
        writes = recorder()
        writes.record(event(1))
        with pytest.raises(OutputTooLong):
            writes.record({"type": "chunk", "content": "x" * 100})

    run_on_loop(run())


def test_request_stop() -> None:
    async def run() -> None:
        unclaimed, claimed, ending = recorder(0), recorder(), recorder()
        tasks = [asyncio.ensure_future(asyncio.sleep(20)) for _ in range(3)]
        for writes, task in zip((unclaimed, claimed, ending), tasks, strict=True):
            writes.task = task
        ending.finishing = True
        for writes in (unclaimed, claimed, ending):
            writes.request_stop(StopReason.CANCELLED)
            writes.request_stop(StopReason.SHUTTING_DOWN)
        await asyncio.sleep(0)
        assert [task.cancelled() for task in tasks] == [False, True, False]
        assert [writes.stop_reason for writes in (unclaimed, claimed, ending)] == [
            StopReason.CANCELLED,
            StopReason.CANCELLED,
            None,
        ]
        for task in tasks:
            task.cancel()

    run_on_loop(run())
