"""The Celery application, which finds the `tasks` module of every installed app."""

import os
import time
from pathlib import Path
from typing import Any, ClassVar

from celery import Celery
from celery.beat import EmbeddedService
from celery.bootsteps import StartStopStep
from celery.signals import before_task_publish, setup_logging, worker_init, worker_ready
from django.conf import settings
from django_structlog.celery.steps import DjangoStructLogInitStep

import lunaos.infra.task_queue.celery_transport  # noqa: F401 - puts its transport in the place of kombu's
from lunaos.infra import lazy_imports
from lunaos.infra.observability import metrics
from lunaos.infra.postgresql import limits

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "lunaos.settings")
HEARTBEAT_INTERVAL_S = 10.0


class HeartbeatFile(StartStopStep):
    """Touches a file while a worker takes messages, for health checks of containers."""

    # `celery inspect ping` costs a message, and fails too when only the broker is down.
    requires: ClassVar = {"celery.worker.consumer.tasks:Tasks"}

    def __init__(self, parent: Any, **options: Any) -> None:
        super().__init__(parent, **options)
        self._file = Path(os.environ.get("LUNAOS_SIGN_OF_LIFE", ""))
        self.enabled = self._file.is_file()
        self._touching: Any = None

    def start(self, parent: Any) -> None:
        # After each connection to the broker: the end of a connection removes the timer's entries.
        self._file.touch()
        self._touching = parent.timer.call_repeatedly(HEARTBEAT_INTERVAL_S, self._file.touch)

    def stop(self, parent: Any) -> None:
        if self._touching is not None:
            parent.timer.cancel(self._touching)
            self._touching = None


class BeatThread(StartStopStep):
    """Sends the periodic tasks from a thread of this worker; a process of its own costs 120 MB."""

    # `celery worker --beat` would fork a process, which outlives a worker that is killed.
    def __init__(self, parent: Any, **options: Any) -> None:
        super().__init__(parent, **options)
        self._schedule = os.environ.get("LUNAOS_BEAT_SCHEDULE", "")
        self.enabled = bool(self._schedule)
        self._beat: Any = None

    def start(self, parent: Any) -> None:
        scheduler = parent.app.conf.beat_scheduler
        self._beat = EmbeddedService(parent.app, thread=True, schedule_filename=self._schedule, scheduler_cls=scheduler)
        self._beat.start()

    def stop(self, parent: Any) -> None:
        if self._beat is not None:
            self._beat.stop()


app = Celery("lunaos")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.steps["worker"].add(DjangoStructLogInitStep)
app.steps["worker"].add(BeatThread)
app.steps["consumer"].add(HeartbeatFile)
app.autodiscover_tasks()


@worker_init.connect
def set_statement_limits(**_: object) -> None:
    # Before the first statement; beat makes none.
    limits.use(limits.long())


@worker_ready.connect
def import_lazy_modules(**_: object) -> None:
    # In workers that need them, so that the first run does not wait.
    if not {"chains", "indexing"}.isdisjoint(app.amqp.queues.consume_from):
        lazy_imports.import_all()


@setup_logging.connect
def keep_django_logging(**_: object) -> None:
    """Stop Celery from replacing the logging that the settings configured."""


@before_task_publish.connect
def add_sent_at(headers: dict[str, Any], **_: object) -> None:
    # `web.metrics` shows the age of a queue's oldest message.
    headers["sent_at"] = time.time()


@worker_ready.connect
def serve_metrics(**_: object) -> None:
    if settings.METRICS_PORT and settings.METRICS_TOKEN:
        metrics.serve(os.environ.get("LUNAOS_LISTEN") or "0.0.0.0", settings.METRICS_PORT, settings.METRICS_TOKEN)  # noqa: S104 - in a container
