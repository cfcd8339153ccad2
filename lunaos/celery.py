"""The Celery application; every installed app's `tasks` module is found by itself."""

import os

from celery import Celery
from celery.signals import setup_logging
from django_structlog.celery.steps import DjangoStructLogInitStep

import lunaos.broker  # noqa: F401 - puts its transport in the place of kombu's

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "lunaos.settings")

app = Celery("lunaos")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.steps["worker"].add(DjangoStructLogInitStep)
app.autodiscover_tasks()


@setup_logging.connect
def keep_django_logging(**_: object) -> None:
    """Stop Celery from replacing the logging that the settings configured."""
