from collections.abc import Callable, Mapping
from typing import Any


def read(view: Callable[..., Any], name: str, method: str, default: Any) -> Any:
    """Return an option that a view declares, such as its pool, or the default."""
    # A viewset declares with `@action(name=value)`, another view with an attribute of its class or function.
    options: Mapping[str, Any] = getattr(view, "initkwargs", {})
    declared = options[name] if name in options else getattr(getattr(view, "cls", view), name, default)
    if isinstance(declared, Mapping):
        return declared.get("get" if method == "HEAD" else method.lower(), default)
    return declared
