"""Beat's scheduler, which survives a damaged file, a full disk, a lost broker."""

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
PAUSE_S = 5.0  # after a failed round
logger = logging.getLogger(__name__)


class Scheduler(beat.Scheduler):
    """Stores the last run of each entry in a JSON file, and a heartbeat in Valkey."""

    # Celery's own scheduler keeps a shelf of pickles, and exits if the shelf cannot be read or written.
    def __init__(self, *args: Any, schedule_filename: str, **options: Any) -> None:
        self._file = Path(schedule_filename)
        self._heartbeat_due_at = 0.0
        super().__init__(*args, **options)

    def setup_schedule(self) -> None:
        """Load the entries of the settings, and their times from the file."""
        super().setup_schedule()
        try:
            self._read()
        except FileNotFoundError:
            pass
        except Exception as e:
            logger.warning("The schedule in %s cannot be read and was removed: %r", self._file, e)
            with suppress(OSError):
                self._file.unlink()
        self.sync()

    def tick(self, *args: Any, **options: Any) -> float:
        """Enqueue the tasks that are due, and return the seconds until the next round."""
        self._send_heartbeat()
        try:
            return float(super().tick(*args, **options))
        except Exception:
            logger.exception("A round of beat failed; beat continues with the next one")
            return PAUSE_S

    def sync(self) -> None:
        times = {name: entry.last_run_at.isoformat() for name, entry in self.schedule.items() if entry.last_run_at}
        new = self._file.with_name(f"{self._file.name}.new")
        # Renamed when complete, so that a kill leaves a complete file.
        try:
            new.write_text(json.dumps(times))
            new.replace(self._file)
        except OSError as e:
            logger.warning("The schedule cannot be written to %s: %r", self._file, e)

    @property
    def info(self) -> str:
        return f"    . file -> {self._file}"

    def _read(self) -> None:
        times = {name: datetime.fromisoformat(text) for name, text in json.loads(self._file.read_text()).items()}
        now = self.app.now()
        for name, last_run_at in times.items():
            if name in self.schedule and last_run_at <= now:  # a time in the future would block the entry
                self.schedule[name].last_run_at = last_run_at

    def _send_heartbeat(self) -> None:
        if time.monotonic() < self._heartbeat_due_at:
            return
        self._heartbeat_due_at = time.monotonic() + HEARTBEAT_EVERY_S
        with suppress(RedisError, OSError):
            redis.client().set(HEARTBEAT_KEY, time.time(), ex=HEARTBEAT_KEPT_S)
