"""Append the events of all runs of an event loop in one round trip."""

import asyncio
import logging
import time
from contextlib import suppress
from typing import Protocol
from uuid import UUID
from weakref import WeakKeyDictionary

from lunaos.infra import event_loop
from lunaos.infra.redis import RedisError
from runs.eventlog import log

# A round trip per event would cost more than the rest of its processing.
# Between two round trips, unless a run waits for its first event; longer the more runs append.
MIN_INTERVAL_S, INTERVAL_PER_RUN_S, MAX_INTERVAL_S = 0.005, 0.001, 0.025
RETRY_DELAY_S = 2.0  # after a failure of Valkey, or an append that it refused
logger = logging.getLogger(__name__)


class EventProducer(Protocol):
    """A run with events to append; implemented by `runs.eventlog.recorder.Recorder`."""

    run_id: UUID
    logged: int
    closed: bool

    @property
    def pending(self) -> log.AppendRequest: ...

    def acknowledge(self, request: log.AppendRequest, result: log.AppendResult) -> bool: ...

    def on_append_failed(self) -> None: ...


class _Writer:
    def __init__(self) -> None:
        self.down = False
        self._waiting: dict[UUID, EventProducer] = {}
        self._retry_at: dict[UUID, float] = {}  # each retry sends all that the log lacks
        self._task: asyncio.Task[None] | None = None
        self._round_trip_done = asyncio.Event()
        self._urgent = asyncio.Event()

    def add(self, producer: EventProducer) -> None:
        if self._is_backing_off(producer.run_id):
            producer.on_append_failed()
            return
        self._waiting[producer.run_id] = producer
        if producer.logged == 0:
            self._urgent.set()
        if self.down:
            producer.on_append_failed()
        if self._task is None or self._task.done():
            self._task = event_loop.create_background_task(self._run())

    def _is_backing_off(self, run_id: UUID) -> bool:
        retry_at = self._retry_at.get(run_id)
        if retry_at is not None and time.monotonic() >= retry_at:
            del self._retry_at[run_id]
            return False
        return retry_at is not None

    async def wait_for_round_trip(self, run_id: UUID) -> bool:
        working = self._task is not None and not self._task.done() and not self.down
        working = working and not self._is_backing_off(run_id)
        if working:
            await self._round_trip_done.wait()
        return working

    async def _run(self) -> None:
        runs = 0
        while self._waiting:
            await self._wait_for_interval(runs)
            batch, self._waiting = list(self._waiting.values()), {}
            self._urgent.clear()
            await self._append([producer for producer in batch if producer.pending.lines])
            self._announce_round_trip()
            runs = len(batch)

    async def _wait_for_interval(self, runs: int) -> None:
        if self.down:
            await asyncio.sleep(RETRY_DELAY_S)
        elif not self._urgent.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(min(max(MIN_INTERVAL_S, INTERVAL_PER_RUN_S * runs), MAX_INTERVAL_S)):
                    await self._urgent.wait()

    def _announce_round_trip(self) -> None:
        self._round_trip_done.set()
        self._round_trip_done = asyncio.Event()

    async def _append(self, batch: list[EventProducer]) -> None:
        requests = [producer.pending for producer in batch]
        try:
            results = await log.append(*requests)
            self.down = False
        except (RedisError, OSError) as e:
            logger.warning("Valkey cannot be reached; events of %d runs stay in memory: %r", len(batch), e)
            self.down = True
            for producer in batch:
                producer.on_append_failed()
            # closed producers are dropped: their events are stored in the database
            self._waiting = {producer.run_id: producer for producer in batch if not producer.closed} | self._waiting
            return
        for producer, request, result in zip(batch, requests, results, strict=True):
            if result is None:  # the other runs go on
                logger.error("Valkey refuses events of run %s", producer.run_id)
                self._back_off(producer)
            elif producer.acknowledge(request, result):
                self._waiting.setdefault(producer.run_id, producer)

    def _back_off(self, producer: EventProducer) -> None:
        now = time.monotonic()
        self._retry_at = {run_id: at for run_id, at in self._retry_at.items() if at > now}
        self._retry_at[producer.run_id] = now + RETRY_DELAY_S
        producer.on_append_failed()


_writers: WeakKeyDictionary[asyncio.AbstractEventLoop, _Writer] = WeakKeyDictionary()


def add(producer: EventProducer) -> None:
    """Schedule the append of a run's pending events."""
    _writers.setdefault(asyncio.get_running_loop(), _Writer()).add(producer)


async def wait_for_round_trip(run_id: UUID) -> bool:
    """Wait for the end of a round trip; return False at once without one."""
    return await _writers.setdefault(asyncio.get_running_loop(), _Writer()).wait_for_round_trip(run_id)
