"""LunaOS: AI developer agents behind one REST API."""

# tracing comes before any import of redis (see there).
from lunaos.infra import gc_tuning
from lunaos.infra.observability import tracing  # noqa: F401

gc_tuning.pause()  # until all apps are loaded

from lunaos.celery import app as celery_app  # noqa: E402

__all__ = ["celery_app"]
__version__ = "0.1.0"
