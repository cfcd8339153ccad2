"""Routes below /_test: what Stripe's dashboard, its test clocks and bad luck would do, for tests and the curious."""

from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from tools.stripe_double import deliveries, faults, params
from tools.stripe_double.api import WORLD
from tools.stripe_double.params import Nested
from tools.stripe_double.params_subscriptions import Status
from tools.stripe_double.requests import REQUESTS
from tools.stripe_double.resources import checkout, renewals
from tools.stripe_double.state import Object, World

DELIVERIES = web.AppKey("deliveries", deliveries.Deliveries)
FAULTS = web.AppKey("faults", faults.Faults)


class At(Nested):
    at: int | None = None


class StatusOrder(Nested):
    status: Status
    period_start: int | None = None
    period_end: int | None = None


class ItemsOrder(Nested):
    price: str
    quantity: int = 1


class CardOrder(Nested):
    declined: bool


class Delivery(Nested):
    url: str | None = None
    timestamp: int | None = None


class Signing(Nested):
    body: str
    secret: str | None = None
    timestamp: int | None = None


class DeliveriesOrder(Nested):
    automatic: bool | None = None
    url: str | None = None
    wanted: list[str] | None = None


async def _read(request: web.Request, shape: type[Nested]) -> Any:
    return params.read(shape, await request.json() if request.body_exists else {})


def _world(request: web.Request) -> World:
    world = request.app[WORLD]
    world.url = f"{request.scheme}://{request.host}"
    return world


def _answer(world: World, shown: Any) -> web.Response:
    world.save()
    return web.json_response(shown)


def _of_subscription(shape: type[Nested], change: Callable[[World, Object, Any], None]) -> Any:
    """A route that changes the subscription of its path and answers it."""

    async def handle(request: web.Request) -> web.Response:
        world, order = _world(request), await _read(request, shape)
        subscription = world.get("subscription", request.match_info["id"])
        change(world, subscription, order)
        return _answer(world, subscription)

    return handle


async def pay(request: web.Request) -> web.Response:
    world = _world(request)
    return _answer(world, checkout.pay(world, request.match_info["id"]))


async def card(request: web.Request) -> web.Response:
    """From now on a customer's card pays, or does not."""
    world, order = _world(request), await _read(request, CardOrder)
    identifier = world.get("customer", request.match_info["id"])["id"]
    world.declined = [each for each in world.declined if each != identifier] + [identifier] * order.declined
    return _answer(world, {"customer": identifier, "declined": order.declined})


async def events(request: web.Request) -> web.Response:
    """All events in the order they were made, each with the last status that the receiver answered."""
    world = _world(request)
    made = world.all("event")[::-1]
    return web.json_response({"events": made, "delivered": world.delivered})


async def deliver(request: web.Request) -> web.Response:
    world, order = _world(request), await _read(request, Delivery)
    event = world.get("event", request.match_info["id"])
    status = await request.app[DELIVERIES].post(event, url=order.url, timestamp=order.timestamp)
    return web.json_response({"status": status})


async def sign(request: web.Request) -> web.Response:
    order = await _read(request, Signing)
    secret = order.secret or request.app[DELIVERIES].secret
    return web.json_response({"header": deliveries.sign(order.body, secret, order.timestamp)})


async def set_deliveries(request: web.Request) -> web.Response:
    order, sender = await _read(request, DeliveriesOrder), request.app[DELIVERIES]
    given = order.given()
    sender.automatic = given.get("automatic", sender.automatic)
    sender.url = given.get("url", sender.url)
    sender.wanted = frozenset(given.get("wanted") or sender.wanted)
    return web.json_response({"automatic": sender.automatic, "url": sender.url, "wanted": sorted(sender.wanted)})


async def add_fault(request: web.Request) -> web.Response:
    return web.json_response(request.app[FAULTS].add(await _read(request, faults.Fault)).shown())


async def fault(request: web.Request) -> web.Response:
    """What has become of a fault; with `?wait=1` as soon as a request waits in it."""
    running = request.app[FAULTS].get(request.match_info["id"])
    if request.query.get("wait"):
        await running.until_waiting()
    return web.json_response(running.shown())


async def release(request: web.Request) -> web.Response:
    running = request.app[FAULTS].get(request.match_info["id"])
    running.released.set()
    return web.json_response(running.shown())


async def requests(request: web.Request) -> web.Response:
    seen = request.app[REQUESTS]
    return web.json_response({"requests": [*seen]})


async def reset(request: web.Request) -> web.Response:
    """The first day again: no objects, no faults, no requests, and what is on its way is forgotten."""
    app = request.app
    await app[DELIVERIES].stop()
    app[FAULTS].clear()
    app[REQUESTS].clear()
    _world(request).reset()
    return web.json_response({})


def _status(world: World, subscription: Object, order: StatusOrder) -> None:
    renewals.set_status(world, subscription, order.status, order.period_start, order.period_end)


def _items(world: World, subscription: Object, order: ItemsOrder) -> None:
    renewals.set_price(world, subscription, order.price, order.quantity)


SUBSCRIPTION = "/_test/subscriptions/{id}"
ROUTES: list[tuple[str, str, Callable[[web.Request], Awaitable[web.Response]]]] = [
    (
        "POST",
        f"{SUBSCRIPTION}/end_period",
        _of_subscription(At, lambda w, s, order: renewals.end_period(w, s, order.at)),
    ),
    (
        "POST",
        f"{SUBSCRIPTION}/fail_payment",
        _of_subscription(At, lambda w, s, order: renewals.fail_payment(w, s, order.at)),
    ),
    ("POST", f"{SUBSCRIPTION}/pay", _of_subscription(Nested, lambda w, s, order: renewals.recover(w, s))),
    ("POST", f"{SUBSCRIPTION}/status", _of_subscription(StatusOrder, _status)),
    ("POST", f"{SUBSCRIPTION}/items", _of_subscription(ItemsOrder, _items)),
    ("POST", "/_test/pay/{id}", pay),
    ("POST", "/_test/customers/{id}/card", card),
    ("GET", "/_test/events", events),
    ("POST", "/_test/events/{id}/deliver", deliver),
    ("POST", "/_test/sign", sign),
    ("POST", "/_test/deliveries", set_deliveries),
    ("POST", "/_test/faults", add_fault),
    ("GET", "/_test/faults/{id}", fault),
    ("POST", "/_test/faults/{id}/release", release),
    ("GET", "/_test/requests", requests),
    ("POST", "/_test/reset", reset),
]


def add_to(app: web.Application) -> None:
    for method, path, handle in ROUTES:
        app.router.add_route(method, path, handle)
