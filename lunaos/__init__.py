"""LunaOS: AI developer agents behind one REST API."""

from lunaos.infra import gc_tuning

gc_tuning.pause()  # until all apps are there

from lunaos.celery import app as celery_app  # noqa: E402
from lunaos.infra import tracing  # noqa: E402, F401 - before whatever imports redis

__all__ = ["celery_app"]
__version__ = "0.1.0"
