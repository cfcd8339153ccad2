"""The double as one aiohttp application: Stripe's API, pages for people, controls for tests."""

from collections import deque
from collections.abc import AsyncIterator, Iterable
from pathlib import Path

from aiohttp import web

from tools.stripe_double import api, controls, deliveries, errors, pages, requests
from tools.stripe_double.controls import DELIVERIES, FAULTS
from tools.stripe_double.faults import Faults, Handler
from tools.stripe_double.requests import REQUESTS
from tools.stripe_double.state import World


@web.middleware
async def _api_middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Requests of the API are noted, and meet the faults that were ordered."""
    if not request.path.startswith("/v1/"):
        return await handler(request)
    await requests.note(request)
    return await request.app[FAULTS].apply(request, handler)


@web.middleware
async def _refusals(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except errors.Refusal as refusal:
        return web.json_response(refusal.body(), status=refusal.status)


async def _deliver(app: web.Application) -> AsyncIterator[None]:
    app[DELIVERIES].take_undelivered()
    yield
    await app[DELIVERIES].stop()


async def _release(app: web.Application) -> None:
    app[FAULTS].clear()


def application(
    *,
    webhook_url: str | None = None,
    webhook_secret: str,
    state: Path | None = None,
    wanted: Iterable[str] = deliveries.WANTED,
    pauses_s: Iterable[float] = deliveries.PAUSES_S,
) -> web.Application:
    """The double, ready to be served on the loopback.

    Args:
        webhook_url: where events go; None keeps them.
        webhook_secret: what signs them.
        state: the file that keeps the world over restarts.
        wanted: the types of events that are delivered.
        pauses_s: before each attempt of a delivery.
    """
    app = web.Application(middlewares=[_refusals, _api_middleware])
    world = World(file=state)
    app[api.WORLD] = world
    app[DELIVERIES] = deliveries.Deliveries(
        world, url=webhook_url, secret=webhook_secret, wanted=wanted, pauses_s=pauses_s
    )
    app[FAULTS] = Faults()
    app[REQUESTS] = deque(maxlen=requests.KEPT)
    app.cleanup_ctx.append(_deliver)
    app.on_shutdown.append(_release)
    for part in (controls, pages, api):
        part.add_to(app)
    return app
