"""LunaOS: AI developer agents behind one REST API."""

import gc

gc.set_threshold(50_000, 10, 10)  # looking through all that a start makes, every 700 objects, takes a seventh of it

from lunaos import tracing  # noqa: E402, F401 - before whatever imports redis
from lunaos.celery import app as celery_app  # noqa: E402

__all__ = ["celery_app"]
__version__ = "0.1.0"
