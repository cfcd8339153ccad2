"""What a view declares beside its code, read from the URL configuration: its pool of threads, its longest body."""

from collections.abc import Callable, Mapping
from typing import Any


def of(view: Callable[..., Any], name: str, method: str, default: Any) -> Any:
    """Return what a view declares by that name.

    Args:
        view: as the URL configuration has it. A viewset declares with `@action(name=value)`, as it does its scopes;
            another view with an attribute of its class or function.
        method: of the request; a declaration may be a mapping by lower-case methods.
        default: where the view declares nothing.
    """
    options: Mapping[str, Any] = getattr(view, "initkwargs", {})
    declared = options[name] if name in options else getattr(getattr(view, "cls", view), name, default)
    if isinstance(declared, Mapping):
        return declared.get("get" if method == "HEAD" else method.lower(), default)
    return declared
