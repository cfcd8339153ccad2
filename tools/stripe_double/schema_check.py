"""Check the double's objects against the annotations of Stripe's SDK."""

import importlib
import types
import typing
from collections.abc import Iterator
from decimal import Decimal
from functools import cache
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

import stripe
from stripe._object_classes import OBJECT_CLASSES
from stripe._stripe_object import UntypedStripeObject

# The SDK's classes are generated from Stripe's OpenAPI description: a field that is not `Optional` is always present,
# and a `Literal` lists a field's values. The SDK adds `str` for future values; here only the list counts.
DELETED_OBJECT_FIELDS = {"id", "object", "deleted"}
LIST_FIELDS = {"object", "data", "has_more", "url"}
OPTIONAL_LIST_FIELDS = {"total_count"}  # Stripe sends it with an invoice's lines; the SDK's one class of lists lacks it


class _SdkNames(dict[str, Any]):
    # The SDK imports these names for type checkers only.
    def __missing__(self, name: str) -> Any:
        if isinstance(found := getattr(stripe, name, None), type):
            return found
        if hasattr(typing, name):
            raise KeyError(name)
        return stripe.StripeObject  # a class of another module; the object's `object` field finds it


@cache
def _field_types(shape: type) -> dict[str, Any]:
    names = _SdkNames(vars(importlib.import_module(shape.__module__)), **vars(shape))
    own = {name: kind for name, kind in typing.get_type_hints(shape, localns=names).items() if not name.startswith("_")}
    return {name: kind for name, kind in own.items() if name in shape.__annotations__ and name != "OBJECT_NAME"}


def class_of(value: dict[str, Any]) -> type | None:
    """Return the SDK's class of an object, by its `object` field."""
    module, name = OBJECT_CLASSES.get(str(value.get("object")), ("", ""))
    return getattr(importlib.import_module(module), name) if module else None


def fields_of(value: dict[str, Any]) -> frozenset[str]:
    shape = class_of(value)
    return frozenset(_field_types(shape)) if shape else frozenset()


def schema_errors(value: dict[str, Any]) -> list[str]:
    """Return the errors of an object: fields, types, and values that are not listed."""
    shape = class_of(value)
    if shape is None:
        return [f"the SDK has no class for {value.get('object')!r}"]
    return list(_object_errors(value, shape, str(value["object"])))


def _object_errors(value: Any, shape: type, at: str) -> Iterator[str]:
    if not isinstance(value, dict):
        yield f"{at}: {value!r} is no object"
        return
    if value.get("deleted") is True:
        yield from (f"{at}.{name}: unknown in what was deleted" for name in value.keys() - DELETED_OBJECT_FIELDS)
        return
    shape = class_of(value) or shape
    if shape is stripe.Event:
        yield from schema_errors(value["data"]["object"])
    hints = _field_types(shape)
    yield from (f"{at}.{name}: unknown" for name in value.keys() - hints.keys())
    yield from (f"{at}.{name}: missing" for name, kind in hints.items() if name not in value and not _is_optional(kind))
    for name in value.keys() & hints.keys():
        yield from _value_errors(value[name], hints[name], f"{at}.{name}")


def _is_optional(kind: Any) -> bool:
    return get_origin(kind) in (Union, types.UnionType) and type(None) in get_args(kind)


def _value_errors(value: Any, kind: Any, at: str) -> Iterator[str]:
    origin = get_origin(kind)
    if origin in (Union, types.UnionType):
        yield from _union_errors(value, get_args(kind), at)
    elif origin is Literal:
        if value not in get_args(kind):
            yield f"{at}: {value!r} is not listed"
    elif origin is list:
        yield from _list_errors(value, get_args(kind)[0], at)
    elif origin is stripe.ListObject:
        yield from _page_errors(value, get_args(kind)[0], at)
    elif origin is UntypedStripeObject:
        yield from _untyped_object_errors(value, get_args(kind)[0], at)
    elif isinstance(kind, type) and issubclass(kind, stripe.StripeObject):
        yield from _object_errors(value, kind, at)
    elif not _is_instance(value, kind):
        yield f"{at}: {value!r} is no {kind}"


def _union_errors(value: Any, kinds: tuple[Any, ...], at: str) -> Iterator[str]:
    if value is None and type(None) in kinds:
        return
    rest = [kind for kind in kinds if kind is not type(None)]
    # Where some types list literals, a string must be one of the literals.
    if isinstance(value, str) and any(get_origin(kind) is Literal for kind in rest):
        rest = [kind for kind in rest if kind is not str]
    found = [list(_value_errors(value, kind, at)) for kind in rest]
    if [] not in found:
        yield from min(found, key=len)


def _list_errors(value: Any, kind: Any, at: str) -> Iterator[str]:
    if not isinstance(value, list):
        yield f"{at}: {value!r} is no list"
        return
    for position, each in enumerate(value):
        yield from _value_errors(each, kind, f"{at}[{position}]")


def _page_errors(value: Any, kind: Any, at: str) -> Iterator[str]:
    if not isinstance(value, dict):
        yield f"{at}: {value!r} is no list of Stripe's"
        return
    yield from (f"{at}.{name}: unknown" for name in value.keys() - LIST_FIELDS - OPTIONAL_LIST_FIELDS)
    yield from (f"{at}.{name}: missing" for name in LIST_FIELDS - value.keys())
    yield from _list_errors(value.get("data"), kind, f"{at}.data")


def _untyped_object_errors(value: Any, kind: Any, at: str) -> Iterator[str]:
    if not isinstance(value, dict):
        yield f"{at}: {value!r} is no object"
        return
    # Any field names, as in metadata.
    for name, each in value.items():
        yield from _value_errors(each, kind, f"{at}.{name}")


def _is_instance(value: Any, kind: Any) -> bool:
    if kind is Any or isinstance(kind, TypeVar):
        return True
    if kind is Decimal:
        return isinstance(value, str)
    if kind in (int, float):
        return isinstance(value, int if kind is int else (int, float)) and not isinstance(value, bool)
    return isinstance(value, get_origin(kind) or kind)
