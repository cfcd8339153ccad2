"""Deprecated operations: one declaration at the viewset, in headers, the OpenAPI document and the changelog."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, ClassVar

from django.conf import settings
from django.http import HttpResponseBase
from django.utils.http import http_date
from rest_framework.request import Request

AT_LEAST = timedelta(days=182)  # six months, as docs/api-changelog.md promises


@dataclass(frozen=True, slots=True)
class Deprecation:
    """When an operation was deprecated, until when it works at least, and what to use instead."""

    since: date
    until: date
    instead: str

    def __post_init__(self) -> None:
        if self.until - self.since < AT_LEAST:
            raise ValueError("A deprecated operation works for six months at least.")

    def headers(self) -> dict[str, str]:
        """Return the headers of RFC 9745 and RFC 8594, with a link to the changelog."""
        docs = f"{settings.PUBLIC_URL}/docs/api-changelog#deprecations"
        since, until = (datetime.combine(day, time(), UTC).timestamp() for day in (self.since, self.until))
        return {"Deprecation": f"@{since:.0f}", "Sunset": http_date(until), "Link": f'<{docs}>; rel="deprecation"'}


class Deprecates:
    """Mixin for viewsets with deprecated actions."""

    # By action. List each operation in docs/api-changelog.md too; a test compares them.
    deprecated: ClassVar[Mapping[str, Deprecation]] = {}

    def finalize_response(self, request: Request, response: HttpResponseBase, *args: Any, **kwargs: Any) -> Any:
        """Add the headers to errors too: a client may meet nothing else."""
        final = super().finalize_response(request, response, *args, **kwargs)  # type: ignore[misc]
        if deprecation := self.deprecated.get(getattr(self, "action", None) or ""):
            for name, value in deprecation.headers().items():
                final.headers[name] = value
        return final
