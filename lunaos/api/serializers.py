"""Serializers of several apps."""

from collections.abc import Collection, Iterable, Mapping
from itertools import islice
from typing import Any

from rest_framework import serializers
from rest_framework.exceptions import ErrorDetail

from lunaos.api.fields import json_type_fault
from lunaos.errors import MAX_FIELD_ERRORS
from lunaos.suggestions import MAX_SUGGESTED_CHARACTERS, find_nearest


class RequestSerializer(serializers.Serializer[Any]):
    """A JSON body: unknown members and values of another JSON type are refused; null means absent."""

    def to_internal_value(self, data: Any) -> Any:
        if not isinstance(data, Mapping):
            return super().to_internal_value(data)
        faults: dict[str, Any] = {**unknown_members(data, self.fields), **self._type_faults(data)}
        try:
            value = super().to_internal_value({name: sent for name, sent in data.items() if self._is_given(name, sent)})
        except serializers.ValidationError as e:
            raise serializers.ValidationError({**e.detail, **faults}) from e  # type: ignore[dict-item]
        if faults:
            raise serializers.ValidationError(faults)
        return value

    def _type_faults(self, data: Mapping[str, Any]) -> dict[str, ErrorDetail]:
        found = {name: json_type_fault(field, data[name]) for name, field in self.fields.items() if name in data}
        return {name: fault for name, fault in found.items() if fault}

    def _is_given(self, name: str, sent: Any) -> bool:
        field = self.fields.get(name)
        return sent is not None or field is None or field.required or field.allow_null


class QuerySerializer(RequestSerializer):
    """Query parameters, whose values are all text."""

    def _type_faults(self, data: Mapping[str, Any]) -> dict[str, ErrorDetail]:
        return {}


class MessageSerializer(serializers.Serializer[Any]):
    """A sentence for people, without further data."""

    message = serializers.CharField()


def unknown_members(data: Iterable[str], known: Collection[str]) -> dict[str, ErrorDetail]:
    """Return the faults of the first unknown names, each with the known name that is nearest."""
    unknown = (name for name in data if name not in known)
    return {name: _unknown(name, known) for name in islice(unknown, MAX_FIELD_ERRORS)}


def _unknown(name: str, known: Iterable[str]) -> ErrorDetail:
    nearest = find_nearest(name, known)
    shown = name if len(name) <= MAX_SUGGESTED_CHARACTERS else f"{name[:MAX_SUGGESTED_CHARACTERS]}…"
    return ErrorDetail(f"Unknown field `{shown}`" + (f"; did you mean `{nearest}`?" if nearest else "."), "unknown")
