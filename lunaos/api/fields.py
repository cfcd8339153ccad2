"""Serializer fields whose cost is bounded before their items are validated."""

import unicodedata
from collections.abc import Sized
from typing import Any, cast

from rest_framework import serializers
from rest_framework.exceptions import ErrorDetail

from lunaos.errors import MAX_FIELD_ERRORS

STRINGS = (
    serializers.CharField,
    serializers.DateTimeField,
    serializers.UUIDField,
    serializers.ChoiceField,
)


def is_blank(text: str) -> bool:
    """Return whether a text shows nothing: white space, and characters that only format or control."""
    # Zero-width spaces and joiners are no white space for `str.strip`.
    return all(character.isspace() or unicodedata.category(character) in {"Cf", "Cc"} for character in text)


def json_type_fault(field: serializers.Field[Any, Any, Any, Any], value: Any) -> ErrorDetail | None:
    """Return the fault of a value whose JSON type is not the field's."""
    # DRF takes 5 for "5", and "5" for 5.
    if value is None or value is serializers.empty:
        return None
    if isinstance(field, STRINGS) and not isinstance(value, str):
        return ErrorDetail("Not a valid string: send text in quotes.", "invalid")
    if isinstance(field, serializers.IntegerField) and type(value) not in {int, float}:
        return ErrorDetail("A valid integer is required: send a number without quotes.", "invalid")
    if isinstance(field, serializers.BooleanField) and type(value) is not bool:
        return ErrorDetail("Must be true or false, without quotes.", "invalid")
    return None


class BoundedListField(serializers.ListField):
    """A list whose length is checked before its items; validation stops at MAX_FIELD_ERRORS wrong items."""

    # DRF's own field validates every item first and creates an error object for each. Requests use this field for
    # every list, also of objects; a serializer with `many=True` is for answers only. `max_length`: maximum number of
    # items.

    def __init__(self, *, max_length: int, **options: Any) -> None:
        super().__init__(max_length=max_length, **options)

    def refuse_length(self) -> None:
        """Raise the error of a list that has too many items."""
        self.fail("max_length", max_length=self.max_length)

    def run_child_validation(self, data: Any) -> list[Any]:
        """Validate the items, or raise ValidationError."""
        length, least, most = len(cast(Sized, data)), self.min_length or 0, cast(int, self.max_length)
        if length > most:
            self.refuse_length()
        if length < least:
            self.fail("min_length", min_length=least)
        found, faults = list[Any](), dict[Any, Any]()
        for index, item in enumerate(data):
            try:
                found.append(self.child.run_validation(item))
            except serializers.ValidationError as e:
                faults[index] = e.detail
            if fault := json_type_fault(self.child, item):
                faults[index] = [fault]
            if len(faults) == MAX_FIELD_ERRORS:
                break
        if faults:
            raise serializers.ValidationError(faults)
        return found


class NamedChoiceField(serializers.ChoiceField):
    """A choice whose error names what may be chosen."""

    # DRF's own says only that the value is not it.

    def __init__(self, choices: Any, **options: Any) -> None:
        super().__init__(choices, **options)
        named = ", ".join(str(choice) for choice in self.choices)
        self.error_messages["invalid_choice"] = f'"{{input}}" is not a valid choice. Choose one of {named}.'
