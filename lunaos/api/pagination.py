"""Cursor pagination, stable while rows are added."""

from typing import Any
from urllib.parse import parse_qs, urlsplit

from django.core.exceptions import ValidationError
from django.db import DataError
from rest_framework import pagination
from rest_framework.exceptions import NotFound
from rest_framework.request import Request
from rest_framework.response import Response

from lunaos.errors import ValidationFailed


class NamedCursorPagination(pagination.CursorPagination):
    """`?limit=` and `?cursor=`."""

    # The answer is `{"<plural>": [...], "nextCursor": "…" | null}`.

    page_size = 20
    max_page_size = 100
    page_size_query_param = "limit"
    plural: str

    def get_page_size(self, request: Request) -> int:
        text = request.query_params.get("limit", str(self.page_size))
        if not (
            len(text) <= len(str(self.max_page_size))
            and text.isascii()
            and text.isdecimal()
            and 1 <= int(text) <= self.max_page_size
        ):
            raise ValidationFailed.for_field("limit", f"Send a whole number from 1 to {self.max_page_size}.")
        return int(text)

    def paginate_queryset(self, queryset: Any, request: Request, view: Any = None) -> list[Any] | None:
        try:
            return super().paginate_queryset(queryset, request, view)
        except (NotFound, ValueError, ValidationError, DataError) as e:  # DRF does not look into a cursor's position
            raise ValidationFailed.for_field(
                "cursor", "The cursor is invalid: send the nextCursor of an answer."
            ) from e

    def get_paginated_response(self, data: Any) -> Response:
        query = parse_qs(urlsplit(self.get_next_link() or "").query)
        return Response({self.plural: data, "nextCursor": query.get("cursor", [None])[0]})

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        cursor = {"type": ["string", "null"], "description": "Send as `cursor` for the next page; null on the last."}
        return {
            "type": "object",
            "required": [self.plural, "nextCursor"],
            "properties": {self.plural: schema, "nextCursor": cursor},
        }

    def get_schema_operation_parameters(self, view: Any) -> list[dict[str, Any]]:
        parameters: list[dict[str, Any]] = super().get_schema_operation_parameters(view)
        for parameter in parameters:
            if parameter["name"] == self.page_size_query_param:
                parameter["schema"] |= {"minimum": 1, "maximum": self.max_page_size}
        return parameters
