"""Routes below /_test: the work of Stripe's dashboard and test clocks, and faults."""

from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from tools.stripe_double import deliveries, fault_injection, params
from tools.stripe_double.api import STORE
from tools.stripe_double.params import Nested
from tools.stripe_double.params_payments import DisputeStatus, RefundCreate, RefundReason
from tools.stripe_double.params_subscriptions import Status
from tools.stripe_double.request_log import REQUESTS
from tools.stripe_double.resources import checkout, disputes, payments, refunds, renewals
from tools.stripe_double.state import Object, ObjectStore

DELIVERIES = web.AppKey("deliveries", deliveries.Deliveries)
FAULTS = web.AppKey("faults", fault_injection.FaultInjector)


class AtTime(Nested):
    at: int | None = None


class StatusRequest(Nested):
    status: Status
    period_start: int | None = None
    period_end: int | None = None


class ItemsRequest(Nested):
    price: str
    quantity: int = 1


class CardRequest(Nested):
    declined: bool


class ChargeRequest(Nested):
    customer: str | None = None
    amount: int = 2900


class RefundRequest(Nested):
    amount: int | None = None
    reason: RefundReason | None = None


class DisputeRequest(Nested):
    amount: int | None = None
    reason: str = "fraudulent"
    inquiry: bool = False


class DisputeStatusRequest(Nested):
    status: DisputeStatus


class DeliveryRequest(Nested):
    url: str | None = None
    timestamp: int | None = None


class SigningRequest(Nested):
    body: str
    secret: str | None = None
    timestamp: int | None = None


class DeliveriesRequest(Nested):
    automatic: bool | None = None
    url: str | None = None
    event_types: list[str] | None = None


async def _read(request: web.Request, shape: type[Nested]) -> Any:
    return params.read(shape, await request.json() if request.body_exists else {})


def _world(request: web.Request) -> ObjectStore:
    store = request.app[STORE]
    store.url = f"{request.scheme}://{request.host}"
    return store


def _answer(store: ObjectStore, shown: Any) -> web.Response:
    store.save()
    return web.json_response(shown)


def _subscription_route(shape: type[Nested], change: Callable[[ObjectStore, Object, Any], None]) -> Any:
    """Return a handler that changes the path's subscription and returns it."""

    async def handle(request: web.Request) -> web.Response:
        store, order = _world(request), await _read(request, shape)
        subscription = store.get("subscription", request.match_info["id"])
        change(store, subscription, order)
        return _answer(store, subscription)

    return handle


async def pay(request: web.Request) -> web.Response:
    store = _world(request)
    return _answer(store, checkout.pay(store, request.match_info["id"]))


async def card(request: web.Request) -> web.Response:
    store, order = _world(request), await _read(request, CardRequest)
    identifier = store.get("customer", request.match_info["id"])["id"]
    store.declined = [each for each in store.declined if each != identifier] + [identifier] * order.declined
    return _answer(store, {"customer": identifier, "declined": order.declined})


async def charge(request: web.Request) -> web.Response:
    store, order = _world(request), await _read(request, ChargeRequest)
    return _answer(store, payments.charge_without_invoice(store, order.customer, order.amount))


async def refund(request: web.Request) -> web.Response:
    store, order = _world(request), await _read(request, RefundRequest)
    # All that is left by default, as in Stripe's dashboard.
    sent = RefundCreate(charge=request.match_info["id"], amount=order.amount, reason=order.reason)
    return _answer(store, refunds.create(store, sent))


async def fail_refund(request: web.Request) -> web.Response:
    store = _world(request)
    return _answer(store, refunds.fail(store, store.get("refund", request.match_info["id"])))


async def dispute(request: web.Request) -> web.Response:
    store, order = _world(request), await _read(request, DisputeRequest)
    opened = disputes.open_for(store, store.get("charge", request.match_info["id"]), **order.sent_fields())
    return _answer(store, opened)


async def set_dispute(request: web.Request) -> web.Response:
    store, order = _world(request), await _read(request, DisputeStatusRequest)
    return _answer(store, disputes.set_status(store, store.get("dispute", request.match_info["id"]), order.status))


async def events(request: web.Request) -> web.Response:
    store = _world(request)
    created = store.all("event")[::-1]
    return web.json_response({"events": created, "delivered": store.delivered})


async def deliver(request: web.Request) -> web.Response:
    store, order = _world(request), await _read(request, DeliveryRequest)
    event = store.get("event", request.match_info["id"])
    status = await request.app[DELIVERIES].post(event, url=order.url, timestamp=order.timestamp)
    return web.json_response({"status": status})


async def sign(request: web.Request) -> web.Response:
    order = await _read(request, SigningRequest)
    secret = order.secret or request.app[DELIVERIES].secret
    return web.json_response({"header": deliveries.sign(order.body, secret, order.timestamp)})


async def set_deliveries(request: web.Request) -> web.Response:
    order, sender = await _read(request, DeliveriesRequest), request.app[DELIVERIES]
    given = order.sent_fields()
    sender.automatic = given.get("automatic", sender.automatic)
    sender.url = given.get("url", sender.url)
    sender.event_types = frozenset(given.get("event_types") or sender.event_types)
    return web.json_response(
        {"automatic": sender.automatic, "url": sender.url, "event_types": sorted(sender.event_types)}
    )


async def add_fault(request: web.Request) -> web.Response:
    return web.json_response(request.app[FAULTS].add(await _read(request, fault_injection.Fault)).as_json())


async def fault(request: web.Request) -> web.Response:
    """Return the state of a fault; with `?wait=1` once a request waits in it."""
    running = request.app[FAULTS].get(request.match_info["id"])
    if request.query.get("wait"):
        await running.until_waiting()
    return web.json_response(running.as_json())


async def release(request: web.Request) -> web.Response:
    running = request.app[FAULTS].get(request.match_info["id"])
    running.released.set()
    return web.json_response(running.as_json())


async def requests(request: web.Request) -> web.Response:
    seen = request.app[REQUESTS]
    return web.json_response({"requests": [*seen]})


async def reset(request: web.Request) -> web.Response:
    app = request.app
    await app[DELIVERIES].stop()
    app[FAULTS].clear()
    app[REQUESTS].clear()
    _world(request).reset()
    return web.json_response({})


def _status(store: ObjectStore, subscription: Object, order: StatusRequest) -> None:
    renewals.set_status(store, subscription, order.status, order.period_start, order.period_end)


def _items(store: ObjectStore, subscription: Object, order: ItemsRequest) -> None:
    renewals.set_price(store, subscription, order.price, order.quantity)


SUBSCRIPTION = "/_test/subscriptions/{id}"
ROUTES: list[tuple[str, str, Callable[[web.Request], Awaitable[web.Response]]]] = [
    (
        "POST",
        f"{SUBSCRIPTION}/end_period",
        _subscription_route(AtTime, lambda w, s, order: renewals.end_period(w, s, order.at)),
    ),
    (
        "POST",
        f"{SUBSCRIPTION}/fail_payment",
        _subscription_route(AtTime, lambda w, s, order: renewals.fail_payment(w, s, order.at)),
    ),
    ("POST", f"{SUBSCRIPTION}/pay", _subscription_route(Nested, lambda w, s, order: renewals.recover(w, s))),
    ("POST", f"{SUBSCRIPTION}/status", _subscription_route(StatusRequest, _status)),
    ("POST", f"{SUBSCRIPTION}/items", _subscription_route(ItemsRequest, _items)),
    ("POST", "/_test/pay/{id}", pay),
    ("POST", "/_test/customers/{id}/card", card),
    ("POST", "/_test/charges", charge),
    ("POST", "/_test/charges/{id}/refund", refund),
    ("POST", "/_test/charges/{id}/dispute", dispute),
    ("POST", "/_test/refunds/{id}/fail", fail_refund),
    ("POST", "/_test/disputes/{id}/status", set_dispute),
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
