"""Parameters as Stripe's SDK encodes them: `items[0][price]=price_1` is nested."""

import re
from typing import Any
from urllib.parse import parse_qsl


def parse(text: str) -> dict[str, Any]:
    """Parse a query string or form body into nested values; every leaf is a string."""
    tree: dict[str, Any] = {}
    for name, value in parse_qsl(text, keep_blank_values=True):
        _put(tree, _keys(name), value)
    return {key: _listed(value) for key, value in tree.items()}


def bracketed(keys: tuple[int | str, ...]) -> str:
    """Return a parameter's name for an error, such as `items[0][price]`."""
    first, *rest = map(str, keys)
    return first + "".join(f"[{key}]" for key in rest)


def _keys(name: str) -> list[str]:
    return [name.split("[", 1)[0], *re.findall(r"\[([^\]]*)\]", name)]


def _put(tree: dict[str, Any], keys: list[str], value: str) -> None:
    *path, last = keys
    for key in path:
        child = tree.setdefault(key, {})
        tree = child if isinstance(child, dict) else tree
    tree[last or str(len(tree))] = value


def _listed(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    children = {key: _listed(child) for key, child in value.items()}
    if all(key.isdigit() for key in children):
        return [children[key] for key in sorted(children, key=int)]
    return children
