"""Bases of the API's viewsets, which refuse query parameters and bodies that no action reads."""

from collections.abc import Mapping
from typing import Any, ClassVar, TypeVar

from django.db.models import Model
from rest_framework import viewsets
from rest_framework.request import Request
from rest_framework.serializers import Serializer

from lunaos.api.deprecation import Deprecates
from lunaos.api.serializers import unknown_members
from lunaos.errors import ValidationFailed

Row = TypeVar("Row", bound=Model)
PAGE_PARAMETERS = ("limit", "cursor")


class StrictInput:
    """Mixin that refuses unknown query parameters, and members of a body where an action takes none.

    Args:
        query_serializers: by action, the serializer of its query parameters.
        bodiless: POST and DELETE actions without a body.
    """

    query_serializers: ClassVar[Mapping[str, type[Serializer[Any]]]] = {}
    bodiless: ClassVar[tuple[str, ...]] = ()

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Check the input after the credential and the limits, as the contract orders the checks."""
        super().initial(request, *args, **kwargs)  # type: ignore[misc]
        action = getattr(self, "action", None)
        faults = unknown_members(request.query_params, self._query_names(action))
        if not faults and action in self.bodiless and request.content_type.startswith("application/json"):
            if not isinstance(request.data, Mapping):
                raise ValidationFailed.for_field("", "Send no body, or an empty object.")
            faults = unknown_members(request.data, ())
        if faults:
            raise ValidationFailed(
                fields=[{"field": name, "message": str(fault), "code": fault.code} for name, fault in faults.items()]
            )

    def _query_names(self, action: str | None) -> tuple[str, ...]:
        if action and action in self.query_serializers:
            return tuple(self.query_serializers[action]().fields)
        return PAGE_PARAMETERS if action == "list" and getattr(self, "pagination_class", None) else ()


class ViewSet(Deprecates, StrictInput, viewsets.ViewSet):
    """A viewset of the API."""


class GenericViewSet(Deprecates, StrictInput, viewsets.GenericViewSet[Row]):
    """A viewset of the API over rows."""
