"""The table of Stripe's routes: method, path, parameters, action."""

from collections.abc import Callable
from typing import Any

from tools.stripe_double import params, params_payments, params_portal
from tools.stripe_double import params_subscriptions as more
from tools.stripe_double.resources import (
    account,
    catalogue,
    checkout,
    customers,
    disputes,
    listing,
    portal,
    refunds,
    schedules,
    subscriptions,
    webhook_endpoints,
)
from tools.stripe_double.state import Object, ObjectStore

Action = Callable[..., Object]
Route = tuple[str, str, type[params.Params], Action]


def _retrieve_route(kind: str) -> Action:
    return lambda store, sent, identifier: store.get(kind, identifier)


def _list_route(
    kind: str, url: str, matching: Callable[[list[Object], Any], list[Object]] = listing.filter_objects
) -> Action:
    return lambda store, sent: listing.page(store, matching(store.all(kind), sent), sent, url)


def _without(sent: params.ListParams, *names: str) -> params.ListParams:
    return sent.model_copy(update=dict.fromkeys(names))


def _products(stored: list[Object], sent: params.ProductList) -> list[Object]:
    return [
        each for each in listing.filter_objects(stored, _without(sent, "ids")) if not sent.ids or each["id"] in sent.ids
    ]


def _prices(stored: list[Object], sent: params.PriceList) -> list[Object]:
    stored = listing.filter_objects(stored, _without(sent, "lookup_keys"))
    return [each for each in stored if not sent.lookup_keys or each["lookup_key"] in sent.lookup_keys]


def _subscriptions(stored: list[Object], sent: more.SubscriptionList) -> list[Object]:
    stored = listing.filter_objects(stored, _without(sent, "status", "price"))
    return [each for each in stored if _has_status(each, sent.status) and _has_price(each, sent.price)]


def _has_status(subscription: Object, status_filter: str | None) -> bool:
    status = str(subscription["status"])
    if status_filter == "ended":
        return status in subscriptions.ENDED_STATUSES
    # As Stripe does: without a filter, all but the canceled ones.
    return status_filter in ("all", status) or (status_filter is None and status != "canceled")


def _has_price(subscription: Object, price_id: str | None) -> bool:
    return not price_id or price_id in [item["price"]["id"] for item in subscription["items"]["data"]]


def _invoices(stored: list[Object], sent: params.InvoiceList) -> list[Object]:
    stored = listing.filter_objects(stored, _without(sent, "subscription"))
    return [each for each in stored if sent.subscription in (None, _subscription_of(each))]


def _subscription_of(invoice: Object) -> str:
    return str(invoice["parent"]["subscription_details"]["subscription"])


def _invoice_payments(stored: list[Object], sent: params_payments.InvoicePaymentList) -> list[Object]:
    stored = listing.filter_objects(stored, _without(sent, "payment"))
    payment_intent_id = sent.payment and sent.payment.payment_intent
    return [each for each in stored if payment_intent_id in (None, each["payment"]["payment_intent"])]


def _events(stored: list[Object], sent: params.EventList) -> list[Object]:
    stored = listing.filter_objects(stored, _without(sent, "types"))
    return [each for each in stored if not sent.types or each["type"] in sent.types]


def _item(store: ObjectStore, sent: params.Params, identifier: str) -> Object:
    for subscription in store.all("subscription"):
        for item in subscription["items"]["data"]:
            if item["id"] == identifier:
                return dict(item)
    return store.get("subscription_item", identifier)


def _account(store: ObjectStore, sent: params.Params, identifier: str = account.ACCOUNT_ID) -> Object:
    return store.get("account", identifier)


def _lines(store: ObjectStore, sent: params.ListParams, identifier: str) -> Object:
    lines = store.get("invoice", identifier)["lines"]
    return listing.page(store, lines["data"], sent, lines["url"])


def _session_lines(store: ObjectStore, sent: params.ListParams, identifier: str) -> Object:
    store.get("checkout.session", identifier)
    shown = listing.line_items(store, identifier)
    return listing.page(store, shown["data"], sent, shown["url"])


def _features(store: ObjectStore, sent: params.ListParams, identifier: str) -> Object:
    # The double has no entitlement features.
    store.get("product", identifier)
    return listing.page(store, [], sent, f"/v1/products/{identifier}/features")


ONE, LIST = params.Params, params.ListParams
PORTAL, SESSION = "/v1/billing_portal", "/v1/checkout/sessions"
SCHEDULE = "/v1/subscription_schedules"

ROUTES: list[Route] = [
    ("GET", "/v1/account", ONE, _account),
    ("GET", "/v1/accounts/{id}", ONE, _account),
    ("POST", "/v1/customers", params.CustomerCreate, customers.create),
    ("GET", "/v1/customers", params.CustomerList, _list_route("customer", "/v1/customers")),
    ("GET", "/v1/customers/{id}", ONE, _retrieve_route("customer")),
    ("POST", "/v1/customers/{id}", params.CustomerUpdate, customers.update),
    ("DELETE", "/v1/customers/{id}", ONE, customers.delete),
    ("POST", "/v1/products", params.ProductCreate, catalogue.create_product),
    ("GET", "/v1/products", params.ProductList, _list_route("product", "/v1/products", _products)),
    ("GET", "/v1/products/{id}", ONE, _retrieve_route("product")),
    ("POST", "/v1/products/{id}", params.ProductUpdate, catalogue.update_product),
    ("GET", "/v1/products/{id}/features", LIST, _features),
    ("POST", "/v1/prices", params.PriceCreate, catalogue.create_price),
    ("GET", "/v1/prices", params.PriceList, _list_route("price", "/v1/prices", _prices)),
    ("GET", "/v1/prices/{id}", ONE, _retrieve_route("price")),
    ("POST", "/v1/prices/{id}", params.PriceUpdate, catalogue.update_price),
    ("GET", "/v1/plans/{id}", ONE, catalogue.retrieve_plan),
    ("POST", SESSION, more.CheckoutCreate, checkout.create),
    ("GET", SESSION, more.CheckoutList, _list_route("checkout.session", SESSION)),
    ("GET", f"{SESSION}/{{id}}", ONE, _retrieve_route("checkout.session")),
    ("GET", f"{SESSION}/{{id}}/line_items", LIST, _session_lines),
    ("POST", f"{SESSION}/{{id}}/expire", ONE, checkout.expire),
    ("POST", f"{PORTAL}/sessions", params_portal.PortalCreate, portal.create),
    ("POST", f"{PORTAL}/configurations", params_portal.ConfigurationCreate, portal.create_configuration),
    (
        "GET",
        f"{PORTAL}/configurations",
        params_portal.ConfigurationList,
        _list_route("billing_portal.configuration", f"{PORTAL}/configurations"),
    ),
    ("GET", f"{PORTAL}/configurations/{{id}}", ONE, _retrieve_route("billing_portal.configuration")),
    ("POST", f"{PORTAL}/configurations/{{id}}", params_portal.ConfigurationUpdate, portal.update_configuration),
    (
        "GET",
        "/v1/subscriptions",
        more.SubscriptionList,
        _list_route("subscription", "/v1/subscriptions", _subscriptions),
    ),
    ("GET", "/v1/subscriptions/{id}", ONE, _retrieve_route("subscription")),
    ("POST", "/v1/subscriptions/{id}", more.SubscriptionUpdate, subscriptions.update),
    ("DELETE", "/v1/subscriptions/{id}", more.SubscriptionCancel, subscriptions.cancel),
    ("GET", "/v1/subscription_items/{id}", ONE, _item),
    ("POST", SCHEDULE, more.ScheduleCreate, schedules.create),
    ("GET", SCHEDULE, more.ScheduleList, _list_route("subscription_schedule", SCHEDULE)),
    ("GET", f"{SCHEDULE}/{{id}}", ONE, _retrieve_route("subscription_schedule")),
    ("POST", f"{SCHEDULE}/{{id}}", more.ScheduleUpdate, schedules.update),
    ("POST", f"{SCHEDULE}/{{id}}/release", more.ScheduleRelease, schedules.release),
    ("GET", "/v1/invoices", params.InvoiceList, _list_route("invoice", "/v1/invoices", _invoices)),
    ("GET", "/v1/invoices/{id}", ONE, _retrieve_route("invoice")),
    ("GET", "/v1/invoices/{id}/lines", LIST, _lines),
    (
        "GET",
        "/v1/invoice_payments",
        params_payments.InvoicePaymentList,
        _list_route("invoice_payment", "/v1/invoice_payments", _invoice_payments),
    ),
    ("GET", "/v1/invoice_payments/{id}", ONE, _retrieve_route("invoice_payment")),
    ("GET", "/v1/payment_intents/{id}", ONE, _retrieve_route("payment_intent")),
    ("GET", "/v1/charges", params_payments.ChargeList, _list_route("charge", "/v1/charges")),
    ("GET", "/v1/charges/{id}", ONE, _retrieve_route("charge")),
    ("POST", "/v1/refunds", params_payments.RefundCreate, refunds.create),
    ("GET", "/v1/refunds", params_payments.RefundList, _list_route("refund", "/v1/refunds")),
    ("GET", "/v1/refunds/{id}", ONE, _retrieve_route("refund")),
    ("GET", "/v1/disputes", params_payments.DisputeList, _list_route("dispute", "/v1/disputes")),
    ("GET", "/v1/disputes/{id}", ONE, _retrieve_route("dispute")),
    ("POST", "/v1/disputes/{id}/close", ONE, disputes.close),
    ("GET", "/v1/events", params.EventList, _list_route("event", "/v1/events", _events)),
    ("GET", "/v1/events/{id}", ONE, _retrieve_route("event")),
    ("POST", "/v1/webhook_endpoints", params.WebhookEndpointCreate, webhook_endpoints.create),
    (
        "GET",
        "/v1/webhook_endpoints",
        params.WebhookEndpointList,
        _list_route("webhook_endpoint", "/v1/webhook_endpoints"),
    ),
    ("DELETE", "/v1/webhook_endpoints/{id}", ONE, webhook_endpoints.delete),
]
