"""Reading request bodies."""

from collections.abc import Mapping
from typing import IO, Any

import orjson
from django.conf import settings
from rest_framework.parsers import BaseParser

from lunaos.errors import MalformedJson, PayloadTooLarge


class StrictJSONParser(BaseParser):
    """UTF-8 JSON and nothing else, up to MAX_BODY_BYTES or the view's own `max_body_bytes`."""

    media_type = "application/json"

    def parse(self, stream: IO[bytes], media_type: str | None = None, parser_context: Any = None) -> Any:
        """Decode the body.

        Raises:
            PayloadTooLarge: more bytes than the route allows.
            MalformedJson: no JSON (RFC 8259), no UTF-8, or the client has disconnected.
        """
        context: Mapping[str, Any] = parser_context or {}
        limit = getattr(context.get("view"), "max_body_bytes", settings.MAX_BODY_BYTES)
        try:
            body = stream.read(limit + 1)
        except ValueError as e:  # Django has closed the stream: the client has disconnected
            raise MalformedJson("The request body has not arrived.") from e
        if len(body) > limit:
            raise PayloadTooLarge(f"The request body is larger than {limit} bytes.")
        try:
            return orjson.loads(body)
        except orjson.JSONDecodeError as e:
            raise MalformedJson(f"The request body is not valid JSON: {e.msg} at character {e.pos}.") from e
