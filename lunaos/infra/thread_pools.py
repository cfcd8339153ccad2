"""Thread pools of a web process; a full pool delays no other pool."""

import enum
from collections.abc import Callable
from typing import Any, TypeVar

from django.conf import settings
from django.urls import Resolver404, resolve

from lunaos.infra import view_options


class Pool(enum.Enum):
    """A thread pool, which a view names: `pool = HASHING`."""

    SHARED = "django"
    HASHING = "hashing"  # password hashes keep a core busy
    STRIPE = "stripe"  # a request waits for Stripe
    WEBHOOK = "webhook"  # an event waits for Stripe, much longer than a request may
    # One pool for each kind of probe: many requests of one kind must not make another kind fail.
    READY = "ready"
    HEALTH = "health"
    STATUS = "status"
    METRICS = "metrics"
    FILES = "files"  # what surrounds a static file, by which Kubernetes knows that the process lives


SHARED, HASHING, STRIPE, WEBHOOK, READY, HEALTH, STATUS, METRICS, FILES = Pool
PROBES = {READY: 2, HEALTH: 2, STATUS: 1, METRICS: 1, FILES: 2}  # threads of each pool


View = TypeVar("View", bound=Callable[..., Any])


def run_posts_in(pool: Pool) -> Callable[[View], View]:
    """Name the pool for POST requests to a page of the admin; its view is a function."""

    def named(view: View) -> View:
        view.pool = {"post": pool}  # type: ignore[attr-defined]
        return view

    return named


def get_pool(view: Callable[..., Any], method: str) -> Pool:
    pool: Pool = view_options.read(view, "pool", method, SHARED)
    return pool


def get_middleware_pool(path: str, method: str) -> Pool:
    """Return the pool of the work in threads around the view of a path."""
    if path.startswith(settings.STATIC_URL):
        return FILES
    try:
        pool = get_pool(resolve(path).func, method)
    except Resolver404:
        return SHARED
    # Probes use their own pool here too: Django's signals would wait for a thread that a hung database holds.
    return pool if pool in PROBES else SHARED
