"""Pages of lists, and the expansion of ids to objects (`expand`)."""

import copy
from typing import Any

from tools.stripe_double import errors, schema_check
from tools.stripe_double.params import CreatedRange, ListParams
from tools.stripe_double.state import Object, ObjectStore

LIST_PARAMETERS = {"limit", "starting_after", "ending_before", "created", "expand"}
# Lists that an object has only on request: the kind of their objects, and the URL of the whole list
INCLUDED_LISTS = {
    ("invoice", "payments"): ("invoice_payment", "/v1/invoice_payments?invoice={id}"),
    ("charge", "refunds"): ("refund", "/v1/charges/{id}/refunds"),
}


def page(store: ObjectStore, stored: list[Object], sent: ListParams, url: str) -> Object:
    """Return one page of a list, the newest first, as Stripe's SDK reads it."""
    ids = [each["id"] for each in stored]
    if sent.starting_after:
        stored = stored[_cursor_index(ids, sent.starting_after, "starting_after") + 1 :]
    if sent.ending_before:
        stored = stored[: _cursor_index(ids, sent.ending_before, "ending_before")][-sent.limit :]
    shown = stored[: sent.limit]
    more = len(stored) > sent.limit or bool(sent.ending_before and shown and shown[0]["id"] != ids[0])
    return {"object": "list", "data": shown, "has_more": more, "url": url}


def _cursor_index(ids: list[str], cursor: str, param: str) -> int:
    if cursor not in ids:
        raise errors.StripeError(f"No such object: '{cursor}'", code="resource_missing", param=param)
    return ids.index(cursor)


def filter_objects(stored: list[Object], sent: ListParams) -> list[Object]:
    """Return the objects with the fields and the creation time of the parameters."""
    filters = {
        name: value for name, value in sent.sent_fields().items() if name not in LIST_PARAMETERS and value is not None
    }
    created = getattr(sent, "created", None)
    return [
        each
        for each in stored
        if all(each.get(name) == value for name, value in filters.items()) and _within(each["created"], created)
    ]


def _within(moment: int, created: CreatedRange | None) -> bool:
    if created is None:
        return True
    above = (created.gt is None or moment > created.gt) and (created.gte is None or moment >= created.gte)
    below = (created.lt is None or moment < created.lt) and (created.lte is None or moment <= created.lte)
    return above and below


def expand(store: ObjectStore, shown: Object, paths: list[str]) -> Object:
    """Return a copy of an answer with ids at paths such as `data.product` replaced."""
    # The stored objects keep their ids.
    shown = copy.deepcopy(shown)
    for path in paths:
        _expand(store, shown, path.split("."), path)
    return shown


def _expand(store: ObjectStore, at: Any, path: list[str], whole: str) -> None:
    if isinstance(at, list):
        for each in at:
            _expand(store, each, path, whole)
        return
    if not isinstance(at, dict):
        return
    name, *rest = path
    if name not in at:
        at[name] = _included_field(store, at, name, whole)
    at[name] = _object_of(store, at[name])
    if rest:
        _expand(store, at[name], rest, whole)


def _object_of(store: ObjectStore, value: Any) -> Any:
    if isinstance(value, str) and value in store.objects:
        return copy.deepcopy(store.objects[value])
    return value


def _included_field(store: ObjectStore, at: Object, name: str, whole: str) -> Object | None:
    if at.get("object") == "checkout.session" and name == "line_items":
        return line_items(store, at["id"])
    if (at.get("object"), name) in INCLUDED_LISTS:
        return _included_list(store, at, name)
    if at.get("object") == "customer" and name in ("sources", "subscriptions", "tax_ids"):
        stored = store.all("subscription", customer=at["id"]) if name == "subscriptions" else []
        living = [copy.deepcopy(each) for each in stored if each["status"] != "canceled"]
        return {"object": "list", "data": living, "has_more": False, "url": f"/v1/customers/{at['id']}/{name}"}
    if "object" not in at or name in schema_check.fields_of(at):
        # A field that Stripe has and the double leaves out.
        return None
    raise errors.StripeError(f"This property cannot be expanded ({whole}).", param="expand[0]")


def _included_list(store: ObjectStore, at: Object, name: str) -> Object:
    kind, url = INCLUDED_LISTS[at["object"], name]
    found = copy.deepcopy(store.all(kind, **{at["object"]: at["id"]}))
    return {"object": "list", "data": found[:10], "has_more": len(found) > 10, "url": url.format(id=at["id"])}


def line_items(store: ObjectStore, session: str) -> Object:
    items = copy.deepcopy(store.line_items.get(session, []))
    return {"object": "list", "data": items, "has_more": False, "url": f"/v1/checkout/sessions/{session}/line_items"}
