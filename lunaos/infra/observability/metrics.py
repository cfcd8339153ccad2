"""Metrics of this process for Prometheus, at /metrics or at METRICS_PORT."""

import hmac
import logging
import threading
from collections.abc import Callable, Iterable
from decimal import Decimal
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.process_collector import ProcessCollector

__all__ = ("CONTENT_TYPE_LATEST", "REGISTRY", "count_answer", "count_request", "exposition", "is_authorized", "serve")

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
REQUEST_BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
FIRST_CHUNK_BUCKETS_S = (0.05, 0.1, 0.25, 0.5, 1, 2, 4, 8, 15, 30, 60)
GAP_BUCKETS_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
LAG_BUCKETS_S = (1, 2, 5, 10, 30, 60, 120, 300, 900, 3600, 21600)

logger = logging.getLogger(__name__)

# Labels take few values, none chosen by clients: each value is a time series.
REGISTRY = CollectorRegistry()
ProcessCollector(registry=REGISTRY)
_REQUESTS = Counter(
    "lunaos_http_requests_total", "Requests whose response has begun.", ("method", "route", "status"), registry=REGISTRY
)
_REQUEST_SECONDS = Histogram(
    "lunaos_http_request_seconds",
    "From a request to the beginning of its response; of a stream that is the provider's first byte.",
    ("route",),
    buckets=REQUEST_BUCKETS_S,
    registry=REGISTRY,
)
STREAMS = Gauge("lunaos_streams_active", "Clients that are being sent events.", ("transport",), registry=REGISTRY)
FIRST_CHUNK = Histogram(
    "lunaos_first_chunk_seconds",
    "From the request, in a chain from the step's beginning, to the first piece of the answer.",
    ("provider",),
    buckets=FIRST_CHUNK_BUCKETS_S,
    registry=REGISTRY,
)
CHUNK_GAP = Histogram(
    "lunaos_chunk_gap_seconds",
    "Between two reads that brought pieces of one answer.",
    ("provider",),
    buckets=GAP_BUCKETS_S,
    registry=REGISTRY,
)
PROVIDER_FAILURES = Counter(
    "lunaos_provider_failures_total",
    "Requests to a provider that failed, those that were tried again included.",
    ("provider", "code"),
    registry=REGISTRY,
)
UNKNOWN_EVENTS = Counter(
    "lunaos_provider_unknown_events_total",
    "Events in providers' answers that hold nothing known: pings, filter results, and others.",
    ("provider",),
    registry=REGISTRY,
)
_TOKENS = Counter(
    "lunaos_tokens_total", "Tokens of answers that have ended.", ("provider", "agent", "kind"), registry=REGISTRY
)
_COST = Counter(
    "lunaos_cost_usd_total", "What they cost us: without users' own keys.", ("provider", "agent"), registry=REGISTRY
)
RUNS = Counter("lunaos_runs_total", "Runs that this process has ended.", ("kind", "status"), registry=REGISTRY)
QUOTA_REFUSALS = Counter(
    "lunaos_quota_refusals_total", "Executions refused since the month is used up.", ("tier",), registry=REGISTRY
)
RUN_REFUSALS = Counter(
    "lunaos_run_refusals_total",
    "Runs refused since too many are under way, or were started this hour.",
    ("reason", "tier"),
    registry=REGISTRY,
)
PAYMENT_REVERSALS = Counter(
    "lunaos_payment_reversals_total",
    "Payments that were taken back, by kind: payment_refunded, refund_failed, dispute_opened, dispute_lost.",
    ("kind",),
    registry=REGISTRY,
)
for _kind in ("payment_refunded", "refund_failed", "dispute_opened", "dispute_lost"):
    PAYMENT_REVERSALS.labels(_kind)  # Prometheus sees the first one as an increase only if it has seen a zero

REFUSALS_DROPPED = Counter(
    "lunaos_refusals_dropped_total",
    "Refused requests that no row counts: too many kinds of them a minute, or no database.",
    ("reason",),
    registry=REGISTRY,
)

WEBHOOK_LAG = Histogram(
    "lunaos_webhook_lag_seconds",
    "From the making of Stripe's event until it was handled.",
    ("kind",),
    buckets=LAG_BUCKETS_S,
    registry=REGISTRY,
)


def count_request(*, method: str, route: str, status: int, seconds: float) -> None:
    # The route's template, never the path itself.
    _REQUESTS.labels(method if method in METHODS else "other", route, str(status)).inc()
    _REQUEST_SECONDS.labels(route).observe(seconds)


def count_answer(*, provider: str, agent: str, tokens: tuple[int, int], cost_usd: Decimal) -> None:
    """Count input and output tokens of an ended answer, and its cost to the operator."""
    for kind, count in zip(("input", "output"), tokens, strict=True):
        _TOKENS.labels(provider, agent, kind).inc(count)
    _COST.labels(provider, agent).inc(float(cost_usd))


def exposition() -> bytes:
    return generate_latest(REGISTRY)


def is_authorized(authorization: str, token: str) -> bool:
    """Return whether an Authorization header holds the token; an empty one fits none."""
    return bool(token) and hmac.compare_digest(authorization.encode(), f"Bearer {token}".encode())


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Quiet(WSGIRequestHandler):
    timeout = 5

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
        """Log no scrape."""


def serve(address: str, port: int, token: str) -> None:
    """Serve this process's metrics in a thread; go on without if the port is taken."""

    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environ["PATH_INFO"] != "/metrics":
            start_response("404 Not Found", [])
            return []
        if not is_authorized(environ.get("HTTP_AUTHORIZATION", ""), token):
            start_response("401 Unauthorized", [("WWW-Authenticate", "Bearer")])
            return []
        start_response("200 OK", [("Content-Type", CONTENT_TYPE_LATEST)])
        return [exposition()]

    try:
        server = make_server(address, port, application, _Server, _Quiet)
    except OSError:
        logger.exception("This process serves no metrics: port %d cannot be opened", port)
        return
    threading.Thread(target=server.serve_forever, name="metrics", daemon=True).start()
