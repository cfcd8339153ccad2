"""The pools of threads of a web process. A view names the one that runs it: `pool = HASHING`.

What waits in one pool holds up nothing in another. A view that names none runs in the shared one.
"""

import enum
from collections.abc import Callable
from typing import Any, TypeVar

from lunaos.infra import view_options


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


SHARED, HASHING, STRIPE, WEBHOOK, READY, HEALTH, STATUS, METRICS = Pool
PROBES = {READY: 2, HEALTH: 2, STATUS: 1, METRICS: 1}  # threads each


View = TypeVar("View", bound=Callable[..., Any])


def posts_run_in(pool: Pool) -> Callable[[View], View]:
    """Name the pool for what is posted to a page of the admin, whose views are functions."""

    def named(view: View) -> View:
        view.pool = {"post": pool}  # type: ignore[attr-defined]
        return view

    return named


def pool_of(view: Callable[..., Any], method: str) -> Pool:
    """Return the pool that runs a view for requests with this method."""
    pool: Pool = view_options.of(view, "pool", method, SHARED)
    return pool
