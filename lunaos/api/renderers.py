"""The envelope: `{"data": …}` around every success."""

from typing import Any

from rest_framework.renderers import BaseRenderer

from lunaos.api import json


class EnvelopeRenderer(BaseRenderer):
    """Renderer of `{"data": …}`; errors come complete from the exception handler."""

    media_type = "application/json"
    format = "json"
    charset = None

    def render(self, data: Any, accepted_media_type: str | None = None, renderer_context: Any = None) -> bytes:
        response = (renderer_context or {}).get("response")
        if response is not None and (response.exception or response.status_code == 204):
            return json.dumps(data) if data is not None else b""
        return json.dumps({"data": data})
