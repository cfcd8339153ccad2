"""The double as one aiohttp application: API, pages and control routes."""

from collections import deque
from collections.abc import AsyncIterator, Iterable
from pathlib import Path

from aiohttp import web

from tools.stripe_double import api, control_api, control_page, deliveries, errors, pages, request_log
from tools.stripe_double.control_api import DELIVERIES, FAULTS
from tools.stripe_double.fault_injection import FaultInjector, Handler
from tools.stripe_double.request_log import REQUESTS
from tools.stripe_double.state import ObjectStore


@web.middleware
async def _api_middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
    if not request.path.startswith("/v1/"):
        return await handler(request)
    await request_log.record(request)
    return await request.app[FAULTS].apply(request, handler)


@web.middleware
async def _refusals(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except errors.StripeError as refusal:
        return web.json_response(refusal.body(), status=refusal.status)


async def _deliver(app: web.Application) -> AsyncIterator[None]:
    app[DELIVERIES].schedule_undelivered()
    yield
    await app[DELIVERIES].stop()


async def _release(app: web.Application) -> None:
    app[FAULTS].clear()


def application(
    *,
    webhook_url: str | None = None,
    webhook_secret: str,
    state: Path | None = None,
    event_types: Iterable[str] = deliveries.DEFAULT_EVENT_TYPES,
    retry_delays_s: Iterable[float] = deliveries.RETRY_DELAYS_S,
) -> web.Application:
    """Return the application, to be served on the loopback; see `Deliveries`."""
    app = web.Application(middlewares=[_refusals, _api_middleware])
    store = ObjectStore(file=state)
    app[api.STORE] = store
    app[DELIVERIES] = deliveries.Deliveries(
        store, url=webhook_url, secret=webhook_secret, event_types=event_types, retry_delays_s=retry_delays_s
    )
    app[FAULTS] = FaultInjector()
    app[REQUESTS] = deque(maxlen=request_log.MAX_REQUESTS)
    app.cleanup_ctx.append(_deliver)
    app.on_shutdown.append(_release)
    for part in (control_api, control_page, pages, api):
        part.add_to(app)
    return app
