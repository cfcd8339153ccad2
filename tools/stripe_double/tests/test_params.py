"""Stripe's SDK sends every parameter that the double accepts."""

import inspect
import types
from collections.abc import Iterator, Mapping
from typing import Any, ForwardRef, get_args, get_type_hints

import pytest
import stripe

from tools.stripe_double import params, params_payments, params_portal, params_subscriptions
from tools.stripe_double.params import Nested, Params
from tools.stripe_double.routes import ROUTES

SHAPES = {shape for _, _, shape, _ in ROUTES if "SDK_NAME" in vars(shape) and shape.SDK_NAME}


def sdk_class(name: str) -> type:
    """Return a class of the SDK's parameters, such as `checkout.SessionListParams`."""
    found: Any = stripe.params
    for part in name.split("."):
        found = getattr(found, part)
    assert isinstance(found, type)
    return found


def inner(kind: Any, base: type) -> Iterator[type]:
    """Yield the nested parameters of a type: the double's, or the SDK's TypedDicts."""
    if isinstance(kind, ForwardRef):
        return
    if isinstance(kind, type) and not get_args(kind) and (issubclass(kind, base) or hasattr(kind, "__total__")):
        yield kind
    for part in get_args(kind):
        yield from inner(part, base)


def unknown_parameters(ours: type[Nested], theirs: type, at: str) -> Iterator[str]:
    only_for_checkers = {"StripeContext": object, "Mapping": Mapping}
    hints = get_type_hints(theirs, localns=only_for_checkers)
    for name, field in ours.model_fields.items():
        if name not in hints:
            yield f"{at}.{name}"
            continue
        for nested in inner(field.annotation, Nested):
            if issubclass(nested, Nested):
                counterpart = next(inner(hints[name], dict), None)
                assert counterpart, f"{at}.{name} has no nested parameters"
                yield from unknown_parameters(nested, counterpart, f"{at}.{name}")


@pytest.mark.parametrize("shape", sorted(SHAPES, key=str))
def test_it_works(shape: type[Params]) -> None:
    assert list(unknown_parameters(shape, sdk_class(shape.SDK_NAME), shape.__name__)) == []


def test_an_unknown_parameter_is_found() -> None:
    class Invented(Params):
        colour: str = ""
        recurring: params_subscriptions.LineItem | None = None

    found = list(unknown_parameters(Invented, sdk_class("PriceCreateParams"), "price"))
    assert found == ["price.colour", "price.recurring.price", "price.recurring.quantity"]


def test_every_class_of_parameters_has_a_route() -> None:
    modules: tuple[types.ModuleType, ...] = (params, params_payments, params_portal, params_subscriptions)
    named = {
        each
        for module in modules
        for each in vars(module).values()
        if inspect.isclass(each) and issubclass(each, Params) and vars(each).get("SDK_NAME")
    }
    assert named == SHAPES
