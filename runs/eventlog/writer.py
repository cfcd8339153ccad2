"""Appends what all runs of an event loop have to say, in one round trip; what comes meanwhile goes with the next.

A round trip for each event would cost more than all else that is done for it.
"""

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

# Between two round trips, unless somebody waits for a run's first event; longer where many runs have much to say.
SHORTEST_PACE_S, PACE_A_RUN_S, LONGEST_PACE_S = 0.005, 0.001, 0.025
PAUSE_S = 2.0  # before Valkey is tried again, or a log that has refused its events
logger = logging.getLogger(__name__)


class Source(Protocol):
    """A run with events to append; `runs.eventlog.recorder.Recorder`."""

    run_id: UUID
    logged: int
    closed: bool

    @property
    def pending(self) -> log.Append: ...

    def settle(self, asked: log.Append, answer: log.Answer) -> bool: ...

    def keep(self) -> None: ...


class _Writer:
    def __init__(self) -> None:
        self.down = False
        self._waiting: dict[UUID, Source] = {}
        self._refused: dict[UUID, float] = {}  # until when a log is left alone: what it lacks is sent anew each time
        self._task: asyncio.Task[None] | None = None
        self._turn = asyncio.Event()
        self._urgent = asyncio.Event()

    def add(self, source: Source) -> None:
        if self._is_refused(source.run_id):
            source.keep()
            return
        self._waiting[source.run_id] = source
        if source.logged == 0:
            self._urgent.set()
        if self.down:
            source.keep()
        if self._task is None or self._task.done():
            self._task = event_loop.create_background_task(self._write())

    def _is_refused(self, run_id: UUID) -> bool:
        until = self._refused.get(run_id)
        if until is not None and time.monotonic() >= until:
            del self._refused[run_id]
            return False
        return until is not None

    async def turn(self, run_id: UUID) -> bool:
        working = self._task is not None and not self._task.done() and not self.down
        working = working and not self._is_refused(run_id)
        if working:
            await self._turn.wait()
        return working

    async def _write(self) -> None:
        runs = 0
        while self._waiting:
            await self._pause(runs)
            batch, self._waiting = list(self._waiting.values()), {}
            self._urgent.clear()
            await self._append([source for source in batch if source.pending.lines])
            self._end_turn()
            runs = len(batch)

    async def _pause(self, runs: int) -> None:
        if self.down:
            await asyncio.sleep(PAUSE_S)
        elif not self._urgent.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(min(max(SHORTEST_PACE_S, PACE_A_RUN_S * runs), LONGEST_PACE_S)):
                    await self._urgent.wait()

    def _end_turn(self) -> None:
        self._turn.set()
        self._turn = asyncio.Event()

    async def _append(self, batch: list[Source]) -> None:
        asked = [source.pending for source in batch]
        try:
            answers = await log.append(*asked)
            self.down = False
        except (RedisError, OSError) as e:
            logger.warning("Events of %d runs stay in memory for now: %r", len(batch), e)
            self.down = True
            for source in batch:
                source.keep()
            # what has ended is stored in the database by now
            self._waiting = {source.run_id: source for source in batch if not source.closed} | self._waiting
            return
        for source, append, answer in zip(batch, asked, answers, strict=True):
            if answer is None:  # one run's trouble is not the others'
                logger.error("The log of run %s refuses its events", source.run_id)
                self._refuse(source)
            elif source.settle(append, answer):
                self._waiting.setdefault(source.run_id, source)

    def _refuse(self, source: Source) -> None:
        now = time.monotonic()
        self._refused = {run_id: until for run_id, until in self._refused.items() if until > now}
        self._refused[source.run_id] = now + PAUSE_S
        source.keep()


_writers: WeakKeyDictionary[asyncio.AbstractEventLoop, _Writer] = WeakKeyDictionary()


def add(source: Source) -> None:
    """Append what a run has to say, soon."""
    _writers.setdefault(asyncio.get_running_loop(), _Writer()).add(source)


async def turn(run_id: UUID) -> bool:
    """Wait until a round trip has ended; False at once where none is under way, Valkey is down or refuses the log."""
    return await _writers.setdefault(asyncio.get_running_loop(), _Writer()).turn(run_id)
