"""LunaOS: AI developer agents behind one REST API."""

from lunaos import garbage

garbage.pause()  # until all apps are there

from lunaos import tracing  # noqa: E402, F401 - before whatever imports redis
from lunaos.celery import app as celery_app  # noqa: E402

__all__ = ["celery_app"]
__version__ = "0.1.0"
