"""The Celery application; every installed app's `tasks` module is found by itself."""

import os
from pathlib import Path
from typing import Any, ClassVar

from celery import Celery
from celery.bootsteps import StartStopStep
from celery.signals import setup_logging
from django_structlog.celery.steps import DjangoStructLogInitStep

import lunaos.broker  # noqa: F401 - puts its transport in the place of kombu's

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "lunaos.settings")
SIGN_EVERY_S = 10.0


class SignOfLife(StartStopStep):
    """Touches a file as long as a worker takes messages, for whoever watches the process (deploy/image/health.py).

    Unlike `celery inspect ping` that costs nothing, and says nothing of the broker's health.
    """

    requires: ClassVar = {"celery.worker.consumer.tasks:Tasks"}

    def __init__(self, parent: Any, **options: Any) -> None:
        super().__init__(parent, **options)
        self._file = Path(os.environ.get("LUNAOS_SIGN_OF_LIFE", ""))
        self.enabled = self._file.is_file()
        self._touching: Any = None

    def start(self, parent: Any) -> None:
        """Again after each connection to the broker, whose end stops the timer's entries."""
        self._file.touch()
        self._touching = parent.timer.call_repeatedly(SIGN_EVERY_S, self._file.touch)

    def stop(self, parent: Any) -> None:
        if self._touching is not None:
            parent.timer.cancel(self._touching)
            self._touching = None


app = Celery("lunaos")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.steps["worker"].add(DjangoStructLogInitStep)
app.steps["consumer"].add(SignOfLife)
app.autodiscover_tasks()


@setup_logging.connect
def keep_django_logging(**_: object) -> None:
    """Stop Celery from replacing the logging that the settings configured."""
