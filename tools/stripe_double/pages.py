"""HTML pages of the checkout, the billing portal and invoices, without JavaScript."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from aiohttp import web
from django.template import Context, Engine

from tools.stripe_double import errors
from tools.stripe_double.api import STORE
from tools.stripe_double.resources import checkout, portal, renewals, subscriptions
from tools.stripe_double.state import Object, ObjectStore

FOLDER = Path(__file__).parent / "templates" / "stripe_double"
ENGINE = Engine(dirs=[str(FOLDER)])
SYMBOLS = {"usd": "$", "eur": "€", "gbp": "£"}


def _world(request: web.Request) -> ObjectStore:
    store = request.app[STORE]
    store.url = f"{request.scheme}://{request.host}"
    return store


def format_money(amount: int, currency: str) -> str:
    return f"{SYMBOLS.get(currency, currency.upper() + ' ')}{amount / 100:,.2f}"


def format_day(moment: int | None) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%-d %B %Y") if moment else ""


def render(name: str, *, leads_to: str | None = None, status: int = 200, **shown: Any) -> web.Response:
    """Render a page with a strict content security policy.

    Args:
        leads_to: where the forms may redirect to, since browsers apply `form-action` to redirects too.
    """
    text = ENGINE.get_template(name).render(Context(shown))
    policy = f"default-src 'none'; style-src 'self'; form-action 'self' {_origin(leads_to)}; base-uri 'none'"
    headers = {"Content-Security-Policy": policy, "Cache-Control": "no-store", "Referrer-Policy": "no-referrer"}
    return web.Response(text=text, status=status, content_type="text/html", headers=headers)


def _origin(url: str | None) -> str:
    parts = urlsplit(url or "")
    return f"{parts.scheme}://{parts.netloc}" if parts.netloc else ""


async def style(request: web.Request) -> web.Response:
    return web.Response(text=(FOLDER / "style.css").read_text(), content_type="text/css")


def _describe_line(store: ObjectStore, line: Object) -> Object:
    price = line["price"]
    return {
        "product": store.objects[price["product"]]["name"],
        "price": format_money(line["amount_total"], line["currency"]),
        "interval": price["recurring"]["interval"],
    }


def _pay_page(store: ObjectStore, session: Object, *, message: str = "") -> web.Response:
    return render(
        "pay.html",
        session=session,
        lines=[_describe_line(store, line) for line in store.line_items[session["id"]]],
        total=format_money(session["amount_total"], session["currency"]),
        email=(session["customer_details"] or {}).get("email"),
        message=message,
        back=checkout.return_url(session),
        leads_to=session["success_url"],
        status=402 if message else 200,
    )


async def show_pay(request: web.Request) -> web.Response:
    store = _world(request)
    return _pay_page(store, store.get("checkout.session", request.match_info["id"]))


async def pay(request: web.Request) -> web.Response:
    store = _world(request)
    session = store.get("checkout.session", request.match_info["id"])
    if (await request.post()).get("card") == "declined":
        return _pay_page(store, session, message="Your card was declined. Nothing was charged.")
    if session["status"] == "open":
        checkout.pay(store, session["id"])
        store.save()
    if session["status"] != "complete":
        return _pay_page(store, session)
    raise web.HTTPSeeOther(checkout.return_url(session))


def _describe_subscription(store: ObjectStore, session: Object, subscription: Object) -> Object:
    item = subscription["items"]["data"][0]
    price = item["price"]
    others = [each for each in portal.allowed_prices(store, session) if each["id"] != price["id"]]
    return {
        "id": subscription["id"],
        "status": subscription["status"].replace("_", " "),
        "product": store.objects[price["product"]]["name"],
        "price": format_money(price["unit_amount"], price["currency"]),
        "interval": price["recurring"]["interval"],
        "period_end": format_day(item["current_period_end"]),
        "ends": format_day(subscription["cancel_at"]),
        "waits": _scheduled_product(store, subscription),
        "pending": subscription["pending_update"],
        "over": subscription["status"] in subscriptions.ENDED_STATUSES,
        "others": [_describe_price(store, each) for each in others],
    }


def _describe_price(store: ObjectStore, price: Object) -> Object:
    return {
        "id": price["id"],
        "product": store.objects[price["product"]]["name"],
        "price": format_money(price["unit_amount"], price["currency"]),
        "interval": price["recurring"]["interval"],
    }


def _scheduled_product(store: ObjectStore, subscription: Object) -> str:
    """Return the name of the product that a schedule changes to next."""
    schedule = store.objects.get(subscription["schedule"] or "")
    if not schedule:
        return ""
    now = subscription["items"]["data"][0]["price"]["id"]
    prices = [phase["items"][0]["price"] for phase in schedule["phases"]]
    later = [price for price in prices[prices.index(now) + 1 :] if price != now] if now in prices else []
    return str(store.objects[store.objects[later[0]]["product"]]["name"]) if later else ""


async def show_portal(request: web.Request) -> web.Response:
    store = _world(request)
    session = store.get("billing_portal.session", request.match_info["id"])
    customer = session["customer"]
    created = store.all("invoice", customer=customer)
    return render(
        "portal.html",
        session=session,
        email=store.objects[customer].get("email"),
        can_cancel=store.objects[session["configuration"]]["features"]["subscription_cancel"]["enabled"],
        subscriptions=[
            _describe_subscription(store, session, each) for each in store.all("subscription", customer=customer)
        ],
        invoices=[_describe_invoice(each) for each in created],
        leads_to=session["return_url"],
    )


def _describe_invoice(invoice: Object) -> Object:
    return {
        "id": invoice["id"],
        "number": invoice["number"],
        "status": invoice["status"],
        "day": format_day(invoice["created"]),
        "total": format_money(invoice["total"], invoice["currency"]),
        "lines": [
            {"description": each["description"], "amount": format_money(each["amount"], each["currency"])}
            for each in invoice["lines"]["data"]
        ],
    }


def _portal_action(act: Callable[[ObjectStore, Object, Object, str], None]) -> Any:
    """Return a handler that changes the form's subscription and shows the portal."""

    async def handle(request: web.Request) -> web.Response:
        store, form = _world(request), await request.post()
        session = store.get("billing_portal.session", request.match_info["id"])
        subscription = store.get("subscription", str(form.get("subscription")))
        if subscription["customer"] != session["customer"]:
            # Another customer's subscription does not exist for this session.
            raise errors.resource_missing("subscription", subscription["id"])
        act(store, session, subscription, str(form.get("price")))
        store.save()
        raise web.HTTPSeeOther(f"/portal/{session['id']}")

    return handle


async def show_invoice(request: web.Request) -> web.Response:
    store = _world(request)
    invoice = store.get("invoice", request.match_info["id"])
    return render("invoice.html", invoice=_describe_invoice(invoice), payable=invoice["status"] == "open")


async def pay_invoice(request: web.Request) -> web.Response:
    store = _world(request)
    invoice = store.get("invoice", request.match_info["id"])
    if invoice["status"] == "open":
        renewals.recover(store, store.objects[invoice["parent"]["subscription_details"]["subscription"]])
        store.save()
    raise web.HTTPSeeOther(f"/invoice/{invoice['id']}")


def add_to(app: web.Application) -> None:
    app.router.add_get("/style.css", style)
    app.router.add_get("/pay/{id}", show_pay)
    app.router.add_post("/pay/{id}", pay)
    app.router.add_get("/portal/{id}", show_portal)
    app.router.add_post("/portal/{id}/switch", _portal_action(portal.switch))
    app.router.add_post("/portal/{id}/cancel", _portal_action(lambda w, session, s, _: portal.cancel(w, session, s)))
    app.router.add_post("/portal/{id}/resume", _portal_action(lambda w, session, s, _: portal.resume(w, session, s)))
    app.router.add_get("/invoice/{id}", show_invoice)
    app.router.add_post("/invoice/{id}", pay_invoice)
