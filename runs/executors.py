"""What this process executes at the moment: signs of life, the run's end, and stopping it from outside."""

import asyncio
import logging
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import replace
from typing import Any
from uuid import UUID

import structlog
from django.conf import settings

from lunaos.errors import LunaError, ServiceUnavailable
from lunaos.infra import database, event_loop, pubsub, tracing
from lunaos.infra.redis import RedisError
from runs import leases, liveness, outcomes, pending_outcomes, services, texts
from runs.eventlog.recorder import Event, Overtaken, Recorder, Stop, line_of
from runs.models import Run

Execute = Callable[[Recorder], Coroutine[Any, Any, None]]

LAST_WORDS_S = 1.0  # for writing down how a run was broken off

logger = logging.getLogger(__name__)

_live: dict[UUID, Recorder] = {}  # written by any thread, so it is copied before it is walked through
_leaving: set["asyncio.Future[Run]"] = set()
_stopping = threading.Event()
_watching: dict[asyncio.AbstractEventLoop, "asyncio.Task[None]"] = {}


def submit(recorder: Recorder, execute: Execute) -> "Future[None]":
    """Execute a run on the process's event loop, from any other thread, whoever may be listening to it.

    Args:
        execute: records the run's events and ends it with `finish`.
    """
    _live.setdefault(recorder.run_id, recorder)  # here, so that whoever follows the run from now on finds it
    return event_loop.submit(_run(recorder, execute))


def recorder_of(run_id: UUID) -> Recorder | None:
    """The recorder of a run that this process executes."""
    return _live.get(run_id)


async def leave(grace_s: float) -> None:
    """Before this process stops: let what it executes end, and break off what has not ended by then.

    An agent's run ends as interrupted then, and a chain goes on in another worker.
    """
    begin_to_leave()
    await _ended(grace_s)
    for recorder in list(_live.values()):
        recorder.halt(Stop.LEAVING)
    await _ended(LAST_WORDS_S)


def begin_to_leave() -> None:
    """Be known as a process that is about to stop, which still ends what it has begun."""
    _stopping.set()


def is_leaving() -> bool:
    """Whether this process is about to stop."""
    return _stopping.is_set()


def cancel_soon(run: Run) -> None:
    """Cancel a run whose client has left, without waiting; on the event loop only."""
    task = asyncio.ensure_future(database.call(services.cancel, run))
    _leaving.add(task)
    task.add_done_callback(_leaving.discard)


async def finish(run: Run, recorder: Recorder, outcome: outcomes.Outcome, last: Event) -> None:
    """Write how a run ended, first to the database and then to the log; nothing where somebody else has ended it.

    While the database stays away the outcome is kept; a sweep writes it and the log later (`runs.pending_outcomes`).

    Raises:
        OperationalError, InterfaceError: neither the database nor Valkey can be told.
    """
    recorder.finishing = True
    line = line_of(last)
    outcome = replace(outcome, events=texts.joined([*recorder.lines, line]), attempt=recorder.attempt)
    try:
        written = await database.call(outcomes.finish, run, outcome)
    except database.OUTAGES:
        written = await _outlast(run, outcome, line)
    if written:
        recorder.conclude(line)


async def _outlast(run: Run, outcome: outcomes.Outcome, line: bytes) -> bool:
    """Keep how a run ended elsewhere while the database is away, and wait for it; whether this execution ended it."""
    kept = await _keep(run, outcome, line)
    try:
        written = await database.call(outcomes.finish, run, outcome, patience_s=settings.DATABASE_PATIENCE_S)
    except database.OUTAGES:
        if not (kept or await _keep(run, outcome, line)):
            raise
        logger.exception("The database cannot be told how run %s ended; a sweep will", run.pk)
        return True
    with suppress(RedisError, OSError):
        await pending_outcomes.forget(run.pk)
    return written


async def _keep(run: Run, outcome: outcomes.Outcome, line: bytes) -> bool:
    try:
        await pending_outcomes.keep(run.pk, outcome, line)
    except (RedisError, OSError) as e:
        logger.warning("Valkey cannot be told either how run %s ended: %r", run.pk, e)
        return False
    return True


def as_error(failure: Exception) -> LunaError:
    """What clients are told of a failed execution; what nobody expected is logged and not shown."""
    if isinstance(failure, LunaError):
        return failure
    logger.error("An execution failed", exc_info=failure)
    return ServiceUnavailable() if isinstance(failure, database.OUTAGES) else LunaError()


async def _run(recorder: Recorder, execute: Execute) -> None:
    if _live.get(recorder.run_id) is not recorder:  # delivered twice
        return
    recorder.task = task = asyncio.current_task()
    _watch()
    if recorder.stop and recorder.attempt and task:  # told before there was a task: it is broken off at its first wait
        task.cancel()
    structlog.contextvars.bind_contextvars(run_id=str(recorder.run_id))  # of this task alone
    try:
        with tracing.span("run", {"lunaos.run_id": str(recorder.run_id)}):
            await execute(recorder)
    except Overtaken:
        recorder.stop = Stop.OVERTAKEN
    except asyncio.CancelledError:
        if recorder.stop is None:  # the loop itself is ending
            raise
    except Exception:
        logger.exception("Run %s was left as it is; a sweep will find it", recorder.run_id)
        raise
    finally:
        if recorder.stop is Stop.OVERTAKEN:
            logger.warning("Run %s is executed elsewhere now", recorder.run_id)
        del _live[recorder.run_id]
        recorder.close()


async def _ended(within_s: float) -> None:
    if tasks := [recorder.task for recorder in list(_live.values()) if recorder.task]:
        await asyncio.wait(tasks, timeout=within_s)


def _watch() -> None:
    """Have somebody watch over this loop's runs."""
    current = asyncio.get_running_loop()
    if current not in _watching or _watching[current].done():
        _watching[current] = event_loop.create_background_task(_watch_over())


async def _watch_over() -> None:
    """Beat for all live runs, and stop those that are to stop: at once when told, else with the next beat."""
    end = pubsub.subscribe(services.CANCEL_CHANNEL, _on_cancel)
    try:
        while True:
            await asyncio.gather(_show_presence(), asyncio.sleep(settings.HEARTBEAT_S))
            try:
                await _beat({key: recorder.attempt for key, recorder in list(_live.items()) if recorder.attempt})
            except Exception:
                logger.exception("A heartbeat failed; the lease is several of them long")
    finally:
        end()


async def _show_presence() -> None:
    try:
        await database.call(liveness.hold)
    except Exception as e:
        logger.warning("This process cannot show that it lives: %r", e)


async def _beat(attempts: dict[UUID, int]) -> None:
    if not attempts:
        return
    alive = await database.call(leases.beat, attempts)
    for run_id, attempt in attempts.items():
        recorder = _live.get(run_id)
        if recorder is None or recorder.attempt != attempt:
            continue
        if run_id not in alive:
            recorder.halt(Stop.OVERTAKEN)
        elif alive[run_id]:
            recorder.halt(Stop.CANCELLED)


def _on_cancel(message: bytes) -> None:
    with suppress(ValueError):
        if recorder := _live.get(UUID(message.decode())):
            recorder.halt(Stop.CANCELLED)
