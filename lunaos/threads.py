"""The pools of threads of a web process. A view names the one that runs it: `pool = HASHING`.

What waits in one pool holds up nothing in another. A view that names none runs in the shared one.
"""

import enum
from collections.abc import Callable
from typing import Any, TypeVar

from django.conf import settings
from django.urls import Resolver404, resolve

from lunaos import declarations


class Pool(enum.Enum):
    """A pool; the value begins the names of its threads."""

    SHARED = "django"
    HASHING = "hashing"  # hashes passwords, which keeps a core busy
    STRIPE = "stripe"  # a person waits for Stripe
    WEBHOOK = "webhook"  # an event waits for Stripe, much longer than a person may
    # What probes and monitors ask, each kind beside the others: many of one must not make another fail.
    READY = "ready"
    HEALTH = "health"
    STATUS = "status"
    METRICS = "metrics"
    FILES = "files"  # what surrounds a static file, by which Kubernetes knows that the process lives


SHARED, HASHING, STRIPE, WEBHOOK, READY, HEALTH, STATUS, METRICS, FILES = Pool
PROBES = {READY: 2, HEALTH: 2, STATUS: 1, METRICS: 1, FILES: 2}  # threads each


View = TypeVar("View", bound=Callable[..., Any])


def posts_run_in(pool: Pool) -> Callable[[View], View]:
    """Name the pool for what is posted to a page of the admin, whose views are functions."""

    def named(view: View) -> View:
        view.pool = {"post": pool}  # type: ignore[attr-defined]
        return view

    return named


def pool_of(view: Callable[..., Any], method: str) -> Pool:
    """Return the pool that runs a view for requests with this method."""
    pool: Pool = declarations.of(view, "pool", method, SHARED)
    return pool


def surrounding(path: str, method: str) -> Pool:
    """Return the pool for what is done in threads before and after the view of a path.

    Probes have theirs for that too: Django's signals would wait for a thread that a hung database holds.
    """
    if path.startswith(settings.STATIC_URL):
        return FILES
    try:
        pool = pool_of(resolve(path).func, method)
    except Resolver404:
        return SHARED
    return pool if pool in PROBES else SHARED
