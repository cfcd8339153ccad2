"""The page at `/`: customers with their payments, and buttons of the dashboard."""

from collections.abc import Callable
from typing import Any

from aiohttp import web

from tools.stripe_double import pages
from tools.stripe_double.api import STORE
from tools.stripe_double.params_payments import RefundCreate
from tools.stripe_double.resources import disputes, payments, refunds, renewals, subscriptions
from tools.stripe_double.state import Object, ObjectStore

Act = Callable[[ObjectStore, Object], object]
LIVE_DISPUTES = ("needs_response", "under_review", "warning_needs_response", "warning_under_review")


def _switch_card(store: ObjectStore, customer: Object) -> None:
    if customer["id"] in store.declined:
        store.declined.remove(customer["id"])
    else:
        store.declined.append(customer["id"])


def _refund_half(store: ObjectStore, charge: Object) -> None:
    refunds.create(store, RefundCreate(charge=charge["id"], amount=max(1, charge["amount"] // 2)))


# A button: its path, the kind of the object that it acts upon, and its action.
BUTTONS: dict[str, tuple[str, Act]] = {
    "card": ("customer", _switch_card),
    "end-period": ("subscription", lambda store, row: renewals.end_period(store, row)),
    "fail-payment": ("subscription", lambda store, row: renewals.fail_payment(store, row)),
    "cancel": ("subscription", lambda store, row: subscriptions.end(store, row)),
    "refund": ("charge", lambda store, row: refunds.create(store, RefundCreate(charge=row["id"]))),
    "refund-half": ("charge", _refund_half),
    "dispute": ("charge", lambda store, row: disputes.open_for(store, row)),
    "inquire": ("charge", lambda store, row: disputes.open_for(store, row, inquiry=True)),
    "win": ("dispute", lambda store, row: disputes.set_status(store, row, _won(row))),
    "lose": ("dispute", lambda store, row: disputes.set_status(store, row, "lost")),
    "fail-refund": ("refund", lambda store, row: refunds.fail(store, row)),
}


def _won(dispute: Object) -> str:
    return "warning_closed" if dispute["status"].startswith("warning_") else "won"


async def show(request: web.Request) -> web.Response:
    store = request.app[STORE]
    shown = [_describe_customer(store, each) for each in store.all("customer")]
    return pages.render("control.html", customers=shown)


async def press(request: web.Request) -> web.Response:
    store = request.app[STORE]
    store.url = f"{request.scheme}://{request.host}"
    kind, act = BUTTONS[request.match_info["button"]]
    act(store, store.get(kind, request.match_info["id"]))
    store.save()
    raise web.HTTPSeeOther("/")


def _describe_customer(store: ObjectStore, customer: Object) -> Object:
    owned: dict[str, Any] = {"customer": customer["id"]}
    return {
        "id": customer["id"],
        "email": customer["email"] or customer["id"],
        "declined": customer["id"] in store.declined,
        "subscriptions": [_describe_subscription(store, each) for each in store.all("subscription", **owned)],
        "invoices": [_describe_invoice(store, each) for each in store.all("invoice", **owned)],
    }


def _describe_subscription(store: ObjectStore, subscription: Object) -> Object:
    price = subscription["items"]["data"][0]["price"]
    return {
        "id": subscription["id"],
        "product": store.objects[price["product"]]["name"],
        "status": subscription["status"].replace("_", " "),
        "over": subscription["status"] in subscriptions.ENDED_STATUSES,
    }


def _describe_invoice(store: ObjectStore, invoice: Object) -> Object:
    return {
        "id": invoice["id"],
        "number": invoice["number"],
        "status": invoice["status"],
        "total": pages.format_money(invoice["total"], invoice["currency"]),
        "charges": [_describe_charge(store, each) for each in payments.charges_of_invoice(store, invoice["id"])],
    }


def _describe_charge(store: ObjectStore, charge: Object) -> Object:
    found = store.all("dispute", charge=charge["id"])
    return {
        "id": charge["id"],
        "status": charge["status"],
        "refundable": charge["paid"] and not charge["refunded"] and not disputes.list_open(store, charge["id"]),
        "paid": charge["paid"],
        "amount": pages.format_money(charge["amount"], charge["currency"]),
        "refunds": [
            {"id": each["id"], "status": each["status"], "amount": pages.format_money(each["amount"], each["currency"])}
            for each in store.all("refund", charge=charge["id"])
        ],
        "disputes": [
            {
                "id": each["id"],
                "status": each["status"].replace("_", " "),
                "open": each["status"] in LIVE_DISPUTES,
            }
            for each in found
        ],
    }


def add_to(app: web.Application) -> None:
    names = "|".join(BUTTONS)
    app.router.add_get("/", show)
    app.router.add_post(f"/control/{{button:{names}}}/{{id}}", press)
