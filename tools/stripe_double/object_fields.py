"""Convert request parameters to fields of stored objects."""

from typing import Any

from tools.stripe_double.params import Nested


def merge_metadata(stored: dict[str, str] | None, sent: dict[str, str] | None) -> dict[str, str]:
    """Merge metadata as Stripe does: an empty value removes its key, None removes all."""
    if sent is None:
        return {}
    return {key: value for key, value in {**(stored or {}), **sent}.items() if value != ""}


def to_object_fields(sent: Nested, stored: dict[str, Any]) -> dict[str, Any]:
    """Return the parameters that were sent, as an object's fields."""
    values: dict[str, Any] = {
        name: value.model_dump() if hasattr(value, "model_dump") else value
        for name, value in sent.sent_fields().items()
    }
    if "metadata" in values:
        values["metadata"] = merge_metadata(stored.get("metadata"), values["metadata"])
    return values
