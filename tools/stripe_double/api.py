"""The part that all API routes share: key, version, idempotency, error format."""

import base64
import binascii
import json
import re
from typing import Any

from aiohttp import web

from tools.stripe_double import API_VERSION, errors, forms, params
from tools.stripe_double.resources import listing
from tools.stripe_double.resources.account import ACCOUNT_ID
from tools.stripe_double.routes import ROUTES, Route
from tools.stripe_double.state import Object, ObjectStore, new_id

STORE = web.AppKey("store", ObjectStore)
TEST_KEY = re.compile(r"sk_test_[A-Za-z0-9]+")
LIVE_KEY = re.compile(r"[sr]k_live_")
# Stripe changes nothing incompatibly between versions with the same name
API_VERSION_NAME = API_VERSION[API_VERSION.index(".") :]
# Stripe refuses these before it executes the request, so the key may be used again
STATUSES_NOT_REPLAYED = {400, 401, 404, 409}


def key_of(headers: Any) -> str:
    """Return a request's API key, sent as Bearer or as the user of Basic."""
    scheme, _, value = headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return str(value.strip())
    try:
        return base64.b64decode(value).decode().split(":")[0]
    except (binascii.Error, UnicodeDecodeError):
        return ""


def _check_headers(request: web.Request) -> None:
    key = key_of(request.headers)
    if not TEST_KEY.fullmatch(key):
        reason = "it is a live key, and the double takes test keys only" if LIVE_KEY.match(key) else "it is no test key"
        raise errors.StripeError(f"Invalid API Key provided: {reason}.", status=401)
    version = request.headers.get("Stripe-Version", API_VERSION)
    if not version.endswith(API_VERSION_NAME):
        raise errors.StripeError(f"The double implements the API version {API_VERSION}; {version} may be incompatible.")
    if request.headers.get("Stripe-Account", ACCOUNT_ID) != ACCOUNT_ID:
        raise errors.StripeError("The double has no connected accounts.", status=403)


def handler(route: Route) -> Any:
    async def handle(request: web.Request) -> web.Response:
        text = request.query_string
        if request.body_exists:
            text = await request.text()
        store = request.app[STORE]
        try:
            _check_headers(request)
            return _answer(store, request, route, forms.parse(text))
        except errors.StripeError as refusal:
            return web.json_response(refusal.body(), status=refusal.status, headers={"Request-Id": new_id("req")})

    return handle


def _answer(store: ObjectStore, request: web.Request, route: Route, sent: dict[str, Any]) -> web.Response:
    key = request.headers.get("Idempotency-Key") if request.method == "POST" else None
    signature = {"method": request.method, "path": request.path, "params": sent}
    if key and key in store.answers:
        return _replay(store.answers[key], signature, key)
    store.url = f"{request.scheme}://{request.host}"
    store.request = {"id": new_id("req"), "idempotency_key": key}
    try:
        status, body = _run(store, request, route, sent)
    finally:
        request_id, store.request = store.request["id"], {"id": None, "idempotency_key": None}
    if key and status not in STATUSES_NOT_REPLAYED:
        store.answers[key] = {"asked": signature, "status": status, "body": body}
    if request.method != "GET":
        store.save()
    return web.json_response(body, status=status, headers={"Request-Id": request_id, "Stripe-Version": API_VERSION})


def _run(store: ObjectStore, request: web.Request, route: Route, sent: dict[str, Any]) -> tuple[int, Object]:
    _, _, shape, action = route
    try:
        values = params.read(shape, sent)
        shown = action(store, values, *request.match_info.values())
        return 200, listing.expand(store, shown, values.expand)
    except errors.StripeError as refusal:
        return refusal.status, refusal.body()


def _replay(stored: Object, signature: Object, key: str) -> web.Response:
    if stored["asked"] != signature:
        raise errors.StripeError(
            f"Keys for idempotent requests can only be used with the same parameters they were first used with. "
            f"Try using a key other than '{key}' if you meant to execute a different request.",
            kind="idempotency_error",
        )
    headers = {"Idempotent-Replayed": "true", "Request-Id": new_id("req")}
    return web.Response(
        text=json.dumps(stored["body"]), status=stored["status"], headers=headers, content_type="application/json"
    )


async def unknown_path(request: web.Request) -> web.Response:
    refusal = errors.StripeError(f"Unrecognized request URL ({request.method}: {request.path}).", status=404)
    return web.json_response(refusal.body(), status=404)


def add_to(app: web.Application) -> None:
    for route in ROUTES:
        app.router.add_route(route[0], route[1], handler(route))
    app.router.add_route("*", "/v1/{tail:.*}", unknown_path)
