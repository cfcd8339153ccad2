from typing import Any


def previous_attributes(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """Return an event's `previous_attributes`: the old values of the changed fields."""
    changed = {}
    for name in old.keys() | new.keys():
        was, now = old.get(name), new.get(name)
        if was == now:
            continue
        # Nested objects are reduced to their changed fields; lists are returned whole; a field that was not set is
        # None.
        changed[name] = previous_attributes(was, now) if isinstance(was, dict) and isinstance(now, dict) else was
    return changed
