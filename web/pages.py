"""Pages for people: who gets one, and how a failure reads on it."""

from functools import cache
from typing import Any, cast

from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.urls import URLPattern, get_resolver
from django.utils.cache import patch_vary_headers
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.permissions import AllowAny
from rest_framework.renderers import BaseRenderer, TemplateHTMLRenderer
from rest_framework.request import Request
from rest_framework.views import APIView

from lunaos import __version__
from lunaos.api.exceptions import plain_response, skip_request_log
from lunaos.api.negotiation import OneRenderer
from lunaos.api.renderers import EnvelopeRenderer
from lunaos.api.request import FramedRequest, framed
from lunaos.errors import LunaError

ErrorText = tuple[str, str]
ERROR_TEXTS: dict[int, ErrorText] = {
    400: ("This request cannot be understood", "Check the address, or begin at the front page."),
    403: ("This page is not for you", "You are not allowed to see or do this. Another account may be."),
    404: ("There is nothing here", "The address may be mistyped, or what was here is gone."),
    405: ("That does not work here", "This page can be read, but nothing can be sent to it."),
    429: ("Too many requests", "Wait for a minute, then try again."),
    500: ("Something went wrong on our side", "Try again. If it stays so, tell the operator the request id below."),
    503: ("A part of the platform is down", "Try again in a moment. The status page tells which part it is."),
}
FORM_EXPIRED: ErrorText = (
    "This form is not valid any more",
    "Go back, load the page again and send it once more. Cookies have to be allowed for this site.",
)
LINK_EXPIRED: ErrorText = (
    "This link is not valid any more",
    "Such links are good for two weeks. Sign in and ask for another with POST /billing/portal.",
)


@cache
def _api_prefixes() -> frozenset[str]:
    """The first part of all paths whose views answer in the API's envelope and in nothing else."""
    found = set()
    for pattern in get_resolver().url_patterns:
        view = getattr(pattern.callback, "cls", None) if isinstance(pattern, URLPattern) else None
        if view is not None and set(view.renderer_classes) == {EnvelopeRenderer}:
            found.add(str(pattern.pattern).partition("/")[0])
    return frozenset(found)


def prefers_html(request: HttpRequest) -> bool:
    """Whether the client prefers HTML to JSON, on a path that is not the API's: the API never answers with a page."""
    if request.path_info.lstrip("/").partition("/")[0] in _api_prefixes():
        return False
    return request.get_preferred_type(["application/json", "text/html"]) == "text/html"


def render_page(template: str, context: dict[str, Any], status: int = 200) -> HttpResponse:
    """A page in the platform's design; rendered without the request, so that nothing asks for a session or a user."""
    return HttpResponse(_render(template, context), status=status)


def error_response(request: HttpRequest, error: LunaError, text: ErrorText | None = None) -> HttpResponse:
    """What Django's own error views answer: a page, or the contract's error, as the client prefers.

    Args:
        words: title and advice, where those of the status would not do.
    """
    if prefers_html(request):
        context = _error_context(cast(FramedRequest, request), error.status, text)
        response = render_page("web/error.html", context, error.status)
        response["Cache-Control"] = "no-store"
        skip_request_log(response)
    else:
        response = plain_response(error)
    patch_vary_headers(response, ("Accept",))
    return response


class ErrorPageRenderer(BaseRenderer):
    """An error of the frame as a page."""

    media_type = "text/html"
    format = "html"
    charset = "utf-8"

    def render(self, data: Any, accepted_media_type: str | None = None, renderer_context: Any = None) -> str:
        response = renderer_context["response"]
        response["Cache-Control"] = "no-store"
        return _render("web/error.html", _error_context(framed(renderer_context["request"]), response.status_code))


class PageRenderer(TemplateHTMLRenderer):
    """A library's page, whose errors look like ours."""

    def render(self, data: Any, accepted_media_type: str | None = None, renderer_context: Any = None) -> Any:
        if renderer_context["response"].exception:
            return ErrorPageRenderer().render(data, accepted_media_type, renderer_context)
        return super().render(data, accepted_media_type, renderer_context)


class HtmlOrJsonNegotiation(OneRenderer):
    """By `Accept`, and by whose path it is."""

    def select_renderer(
        self, request: Request, renderers: Any, format_suffix: str | None = None
    ) -> tuple[BaseRenderer, str]:
        kind = "html" if prefers_html(request._request) else "json"
        renderer = next(each for each in renderers if each.format == kind)
        return renderer, renderer.media_type


class PageView(APIView):
    """A page that anybody may read, inside the API's frame: counted, and its failures are pages for browsers."""

    authentication_classes = ()
    permission_classes = (AllowAny,)
    renderer_classes = (EnvelopeRenderer, ErrorPageRenderer)
    content_negotiation_class: type[BaseContentNegotiation] = HtmlOrJsonNegotiation
    metadata_class = None  # of a page, OPTIONS has nothing to tell
    schema = None


def _render(template: str, context: dict[str, Any]) -> str:
    return render_to_string(template, {"version": __version__, **context})


def _error_context(request: FramedRequest, status: int, text: ErrorText | None = None) -> dict[str, Any]:
    title, advice = text or ERROR_TEXTS.get(status) or ERROR_TEXTS[500]
    return {"status": status, "title": title, "advice": advice, "request_id": request.id}
