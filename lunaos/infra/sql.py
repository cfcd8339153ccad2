from collections.abc import Mapping
from typing import Any


def merge_parameters(*parts: Mapping[str, Any]) -> dict[str, Any]:
    """Merge the parameters that several modules give to one statement."""
    merged: dict[str, Any] = {}
    for part in parts:
        # One value would silently replace the other.
        if shared := merged.keys() & part.keys():
            raise ValueError(f"Two modules give a value to the SQL parameters {', '.join(sorted(shared))}: rename one.")
        merged |= part
    return merged
