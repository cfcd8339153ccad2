"""LunaOS: AI developer agents behind one REST API."""

from lunaos import tracing  # noqa: F401 - before whatever imports redis
from lunaos.celery import app as celery_app

__all__ = ["celery_app"]
__version__ = "0.1.0"
