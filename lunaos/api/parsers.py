"""Reading request bodies."""

from collections.abc import Mapping
from typing import IO, Any
from urllib.parse import parse_qsl

import orjson
from django.conf import settings
from rest_framework.parsers import BaseParser

from lunaos.errors import BadRequest, MalformedJson, PayloadTooLarge

MAX_FORM_FIELDS = 20


class StrictJSONParser(BaseParser):
    """UTF-8 JSON and nothing else, up to MAX_BODY_BYTES or the view's own `max_body_bytes`."""

    media_type = "application/json"

    def parse(self, stream: IO[bytes], media_type: str | None = None, parser_context: Any = None) -> Any:
        """Decode the body.

        Raises:
            PayloadTooLarge: more bytes than the route allows.
            MalformedJson: no JSON (RFC 8259), no UTF-8, or the client has disconnected.
        """
        body = _read(stream, parser_context)
        if body is None:
            raise MalformedJson("The request body has not arrived.")
        try:
            return orjson.loads(body)
        except orjson.JSONDecodeError as e:
            raise MalformedJson(f"The request body is not valid JSON: {e.msg} at character {e.pos}.") from e


class FormParser(BaseParser):
    """A form of a page: text fields in UTF-8, the last of each name."""

    media_type = "application/x-www-form-urlencoded"

    def parse(self, stream: IO[bytes], media_type: str | None = None, parser_context: Any = None) -> dict[str, str]:
        """Decode the body.

        Raises:
            PayloadTooLarge: more bytes than the route allows.
            BadRequest: no UTF-8, more than MAX_FORM_FIELDS fields, or the client has disconnected.
        """
        body = _read(stream, parser_context)
        try:
            return dict(
                parse_qsl(
                    (body or b"").decode(), keep_blank_values=True, errors="strict", max_num_fields=MAX_FORM_FIELDS
                )
            )
        except ValueError as e:
            raise BadRequest() from e


def _read(stream: IO[bytes], parser_context: Any) -> bytes | None:
    # Read a body within the limit of its view; None if the client has disconnected.
    context: Mapping[str, Any] = parser_context or {}
    limit = getattr(context.get("view"), "max_body_bytes", settings.MAX_BODY_BYTES)
    try:
        body = stream.read(limit + 1)
    except ValueError:  # Django has closed the stream
        return None
    if len(body) > limit:
        raise PayloadTooLarge(f"The request body is larger than {limit} bytes.")
    return body
