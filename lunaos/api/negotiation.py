"""Content negotiation: JSON, and event streams where the contract says so."""

from collections.abc import Iterable

from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.parsers import BaseParser
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request
from rest_framework.utils.mediatypes import media_type_matches


class IgnoreAccept(BaseContentNegotiation):
    """Negotiation that ignores `Accept`: DRF would answer 406 to `text/event-stream`."""

    def select_parser(self, request: Request, parsers: Iterable[BaseParser]) -> BaseParser | None:
        matching = (parser for parser in parsers if media_type_matches(parser.media_type, request.content_type))
        return next(matching, None)

    def select_renderer(
        self, request: Request, renderers: Iterable[BaseRenderer], format_suffix: str | None = None
    ) -> tuple[BaseRenderer, str]:
        renderer = next(iter(renderers))
        return renderer, renderer.media_type
