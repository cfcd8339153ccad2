"""Execute this process's runs: start, heartbeats, stop, end."""

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
from lunaos.event_lines import encode
from lunaos.infra import database, event_loop, pubsub
from lunaos.infra.observability import tracing
from lunaos.infra.redis import RedisError
from runs import outcomes, services, texts
from runs.eventlog.recorder import LeaseLost, Recorder, RunEvent, StopReason
from runs.models import Run
from runs.recovery import leases, liveness, pending_outcomes

Execute = Callable[[Recorder], Coroutine[Any, Any, None]]

INTERRUPT_TIMEOUT_S = 1.0  # for writing the end of interrupted runs

logger = logging.getLogger(__name__)

_recorders: dict[UUID, Recorder] = {}  # any thread writes it, so iterate over a copy
_cancellations: set["asyncio.Future[Run]"] = set()
_shutting_down = threading.Event()
_watchers: dict[asyncio.AbstractEventLoop, "asyncio.Task[None]"] = {}


def submit(recorder: Recorder, execute: Execute) -> "Future[None]":
    """Execute a run on the process's event loop, from any other thread."""
    # The run goes on without readers. `execute` records the run's events, and ends the run with `finish`.
    _recorders.setdefault(recorder.run_id, recorder)  # here, so that followers find it from now on
    return event_loop.submit(_run(recorder, execute))


def find_recorder(run_id: UUID) -> Recorder | None:
    """Return the recorder of a run that this process executes."""
    return _recorders.get(run_id)


async def shut_down(grace_s: float) -> None:
    """Wait `grace_s` for this process's runs to end by themselves, then stop the rest."""
    mark_shutting_down()
    await _wait_for_runs(grace_s)
    # A stopped run of an agent ends as interrupted; a stopped chain goes on in another worker.
    for recorder in list(_recorders.values()):
        recorder.request_stop(StopReason.SHUTTING_DOWN)
    await _wait_for_runs(INTERRUPT_TIMEOUT_S)


def mark_shutting_down() -> None:
    """Announce that this process is about to stop; its runs go on."""
    _shutting_down.set()


def is_shutting_down() -> bool:
    return _shutting_down.is_set()


def schedule_cancel(run: Run) -> None:
    """Cancel a run whose client has disconnected; call it on the event loop only."""
    task = asyncio.ensure_future(database.call(services.cancel, run))
    # The event loop holds only weak references to tasks.
    _cancellations.add(task)
    task.add_done_callback(_cancellations.discard)


async def finish(run: Run, recorder: Recorder, outcome: outcomes.Outcome, last: RunEvent) -> None:
    """Write a run's end; raise OUTAGES if neither database nor Valkey takes it."""
    # A run that is finishing is not stopped any more (`Recorder.request_stop`).
    recorder.finishing = True
    line = encode(last)
    outcome = replace(outcome, events=texts.join_events([*recorder.lines, line]), attempt=recorder.attempt)
    try:
        written = await database.call(outcomes.finish, run, outcome)
    except database.OUTAGES:
        written = await _finish_after_outage(run, outcome, line)
    # False if another execution has ended the run: readers then get that execution's last event.
    if written:
        recorder.append_terminal(line)


async def _finish_after_outage(run: Run, outcome: outcomes.Outcome, line: bytes) -> bool:
    # Stored first: this process may be killed while it waits for the database; then a sweep writes the outcome.
    kept = await _store_pending(run, outcome, line)
    try:
        written = await database.call(outcomes.finish, run, outcome, patience_s=settings.DATABASE_PATIENCE_S)
    except database.OUTAGES:
        if not (kept or await _store_pending(run, outcome, line)):
            raise
        logger.exception("The database is away; a sweep writes the end of run %s later", run.pk)
        # The run counts as ended by this execution, since the stored outcome will end it.
        return True
    with suppress(RedisError, OSError):
        await pending_outcomes.delete(run.pk)
    return written


async def _store_pending(run: Run, outcome: outcomes.Outcome, line: bytes) -> bool:
    try:
        await pending_outcomes.store(run.pk, outcome, line)
    except (RedisError, OSError) as e:
        logger.warning("Valkey cannot store the end of run %s either: %r", run.pk, e)
        return False
    return True


def to_client_error(failure: Exception) -> LunaError:
    """Return the error that clients see; log an unexpected failure and hide it."""
    if isinstance(failure, LunaError):
        return failure
    logger.error("An execution failed", exc_info=failure)
    return ServiceUnavailable() if isinstance(failure, database.OUTAGES) else LunaError()


async def _run(recorder: Recorder, execute: Execute) -> None:
    if _recorders.get(recorder.run_id) is not recorder:  # the message was delivered twice
        return
    recorder.task = task = asyncio.current_task()
    _ensure_watcher()
    # Stopped before its task existed: cancelled at its first wait.
    if recorder.stop_reason and recorder.attempt and task:
        task.cancel()
    structlog.contextvars.bind_contextvars(run_id=str(recorder.run_id))  # of this task alone
    try:
        with tracing.span("run", {"lunaos.run_id": str(recorder.run_id)}):
            await execute(recorder)
    except LeaseLost:
        recorder.stop_reason = StopReason.LEASE_LOST
    except asyncio.CancelledError:
        if recorder.stop_reason is None:  # the loop itself is ending
            raise
    except Exception:
        logger.exception("Run %s was left unfinished; a sweep ends it later", recorder.run_id)
        raise
    finally:
        if recorder.stop_reason is StopReason.LEASE_LOST:
            logger.warning("Run %s is executed by another process now", recorder.run_id)
        del _recorders[recorder.run_id]
        recorder.close()


async def _wait_for_runs(within_s: float) -> None:
    if tasks := [recorder.task for recorder in list(_recorders.values()) if recorder.task]:
        await asyncio.wait(tasks, timeout=within_s)


def _ensure_watcher() -> None:
    current = asyncio.get_running_loop()
    if current not in _watchers or _watchers[current].done():
        _watchers[current] = event_loop.create_background_task(_watch_runs())


async def _watch_runs() -> None:
    # A cancelled run stops on this notice; if the notice is lost, at the next heartbeat.
    end = pubsub.subscribe(services.CANCEL_CHANNEL, _on_cancel)
    try:
        while True:
            await asyncio.gather(_hold_liveness_lock(), asyncio.sleep(settings.HEARTBEAT_S))
            try:
                await _renew_leases(
                    {key: recorder.attempt for key, recorder in list(_recorders.items()) if recorder.attempt}
                )
            except Exception:
                logger.exception("A heartbeat failed; leases outlast several heartbeats")
    finally:
        end()


async def _hold_liveness_lock() -> None:
    try:
        await database.call(liveness.hold_lock)
    except Exception as e:
        logger.warning("The liveness lock of this process cannot be held: %r", e)


async def _renew_leases(attempts: dict[UUID, int]) -> None:
    if not attempts:
        return
    alive = await database.call(leases.renew, attempts)
    for run_id, attempt in attempts.items():
        recorder = _recorders.get(run_id)
        if recorder is None or recorder.attempt != attempt:
            continue
        if run_id not in alive:
            recorder.request_stop(StopReason.LEASE_LOST)
        elif alive[run_id]:
            recorder.request_stop(StopReason.CANCELLED)


def _on_cancel(message: bytes) -> None:
    with suppress(ValueError):
        if recorder := _recorders.get(UUID(message.decode())):
            recorder.request_stop(StopReason.CANCELLED)
