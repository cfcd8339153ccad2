"""The clock of periodic tasks, which a damaged file, a full disk or a broker that is away must not stop.

Celery's own keeps its schedule in a shelf of pickles and ends where that cannot be read or written. This one works in
memory and notes, now and then, when each entry last ran.
"""

import json
import logging
import time
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from celery import beat

from lunaos.infra import redis
from lunaos.infra.redis import RedisError

HEARTBEAT_KEY = "lunaos:beat-heartbeat"
HEARTBEAT_EVERY_S, HEARTBEAT_KEPT_S = 5.0, 300
PAUSE_S = 5.0  # after a round that failed
logger = logging.getLogger(__name__)


class Scheduler(beat.Scheduler):
    """Remembers in a JSON file when each entry last ran, and tells Valkey that it is there."""

    def __init__(self, *args: Any, schedule_filename: str, **options: Any) -> None:
        self._file = Path(schedule_filename)
        self._heartbeat_due_at = 0.0
        super().__init__(*args, **options)

    def setup_schedule(self) -> None:
        """Take the entries of the settings, with their times in the file; one that cannot be read is dropped."""
        super().setup_schedule()
        try:
            self._read()
        except FileNotFoundError:
            pass
        except Exception as e:
            logger.warning("The schedule in %s cannot be read and is dropped: %r", self._file, e)
            with suppress(OSError):
                self._file.unlink()
        self.sync()

    def tick(self, *args: Any, **options: Any) -> float:
        """Send what is due.

        Returns:
            Seconds until the next round.
        """
        self._show_presence()
        try:
            return float(super().tick(*args, **options))
        except Exception:
            logger.exception("A round of beat's failed; the next one follows")
            return PAUSE_S

    def sync(self) -> None:
        """Write the file: renamed when complete, so that a kill leaves no half of one."""
        times = {name: entry.last_run_at.isoformat() for name, entry in self.schedule.items() if entry.last_run_at}
        new = self._file.with_name(f"{self._file.name}.new")
        try:
            new.write_text(json.dumps(times))
            new.replace(self._file)
        except OSError as e:
            logger.warning("The schedule cannot be written to %s: %r", self._file, e)

    @property
    def info(self) -> str:
        """Return what beat shows of it when it starts."""
        return f"    . file -> {self._file}"

    def _read(self) -> None:
        times = {name: datetime.fromisoformat(text) for name, text in json.loads(self._file.read_text()).items()}
        now = self.app.now()
        for name, last_run_at in times.items():
            if name in self.schedule and last_run_at <= now:  # one in the future would keep it from running until then
                self.schedule[name].last_run_at = last_run_at

    def _show_presence(self) -> None:
        if time.monotonic() < self._heartbeat_due_at:
            return
        self._heartbeat_due_at = time.monotonic() + HEARTBEAT_EVERY_S
        with suppress(RedisError, OSError):
            redis.client().set(HEARTBEAT_KEY, time.time(), ex=HEARTBEAT_KEPT_S)
