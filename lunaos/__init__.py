"""LunaOS: AI developer agents behind one REST API."""

import gc

COLLECT_AFTER = gc.get_threshold()
# Until all apps are there: looking again and again through what a start makes takes a seventh of it.
gc.set_threshold(50_000, 10, 10)

from lunaos import tracing  # noqa: E402, F401 - before whatever imports redis
from lunaos.celery import app as celery_app  # noqa: E402

__all__ = ["celery_app"]
__version__ = "0.1.0"
