"""What an update's event tells of the object before it."""

from typing import Any


def previous_attributes(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """The old values of what changed: of nested objects only their changed fields, of lists all; None where unset."""
    changed = {}
    for name in old.keys() | new.keys():
        was, now = old.get(name), new.get(name)
        if was == now:
            continue
        changed[name] = previous_attributes(was, now) if isinstance(was, dict) and isinstance(now, dict) else was
    return changed
