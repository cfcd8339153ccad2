"""HTML pages for people: content negotiation, forms, and error pages."""

import math
from collections.abc import Sequence
from functools import cache
from typing import Any, cast

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.loader import render_to_string
from django.urls import URLPattern, get_resolver
from django.utils.cache import patch_vary_headers
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.permissions import AllowAny
from rest_framework.renderers import BaseRenderer, TemplateHTMLRenderer
from rest_framework.request import Request
from rest_framework.serializers import Serializer
from rest_framework.throttling import BaseThrottle
from rest_framework.views import APIView

from accounts.signin.throttles import SignInThrottle
from lunaos import __version__
from lunaos.api.exceptions import Forbidden, plain_response, skip_request_log, translate
from lunaos.api.middleware import NO_REFERRER
from lunaos.api.negotiation import IgnoreAccept
from lunaos.api.parsers import FormParser
from lunaos.api.renderers import EnvelopeRenderer
from lunaos.api.request import ApiRequest, get_api_request
from lunaos.errors import LunaError
from lunaos.infra.plurals import counted

ErrorText = tuple[str, str]
ERROR_TEXTS: dict[int, ErrorText] = {
    400: ("Bad request", "Check the address, or start at the front page."),
    403: ("No permission", "Your account may not open this page. Sign in with another account."),
    404: ("Page not found", "The address may be mistyped, or the page was removed."),
    405: ("Method not allowed", "This page can be read, but accepts no data."),
    429: ("Too many requests", "Wait a minute, then try again."),
    500: (
        "Something went wrong on our side",
        "Try again. If the error stays, send the request id below to the operator.",
    ),
    503: ("A part of the platform is down", "Try again in a moment. The status page shows the part that is down."),
}
FORM_EXPIRED: ErrorText = (
    "This form has expired",
    "Reload the page and send the form again. Allow cookies for this site.",
)
# Of a field in a form, by the code of the broken rule; other rules say themselves what is wrong.
FIELD_ERRORS = {
    "blank": "Fill in this field.",
    "required": "Fill in this field.",
    "min_length": "This is too short. Use at least 8 characters.",
    "max_length": "This is too long.",
}


@cache
def _api_prefixes() -> frozenset[str]:
    found = set()
    for pattern in get_resolver().url_patterns:
        view = getattr(pattern.callback, "cls", None) if isinstance(pattern, URLPattern) else None
        # Views that answer in the API's envelope alone.
        if view is not None and set(view.renderer_classes) == {EnvelopeRenderer}:
            found.add(str(pattern.pattern).partition("/")[0])
    return frozenset(found)


def prefers_html(request: HttpRequest) -> bool:
    """Return whether the client prefers HTML and the path is not the API's."""
    if request.path_info.lstrip("/").partition("/")[0] in _api_prefixes():
        return False
    return request.get_preferred_type(["application/json", "text/html"]) == "text/html"


def render_page(template: str, context: dict[str, Any], status: int = 200) -> HttpResponse:
    """Render a page without the request, so that no session or user is loaded."""
    return HttpResponse(_render(template, context), status=status)


def error_response(request: HttpRequest, error: LunaError, text: ErrorText | None = None) -> HttpResponse:
    """Return an error page or the API's error object, as the client prefers.

    Args:
        text: title and advice in place of those of the status.
    """
    if prefers_html(request):
        context = _error_context(cast(ApiRequest, request), error.status, text)
        response = render_page("web/error.html", context, error.status)
        response["Cache-Control"] = "no-store"
        skip_request_log(response)
    else:
        response = plain_response(error)
    patch_vary_headers(response, ("Accept",))
    return response


class ErrorPageRenderer(BaseRenderer):
    media_type = "text/html"
    format = "html"
    charset = "utf-8"

    def render(self, data: Any, accepted_media_type: str | None = None, renderer_context: Any = None) -> str:
        response = renderer_context["response"]
        response["Cache-Control"] = "no-store"
        context = _error_context(get_api_request(renderer_context["request"]), response.status_code)
        if response.status_code == 429 and (wait_s := response.get("Retry-After")):
            context["advice"] = f"Wait {counted(math.ceil(int(wait_s) / 60), 'minute')}, then try again."
        return _render("web/error.html", context)


class PageRenderer(TemplateHTMLRenderer):
    """Renders a library's page, with this platform's error pages."""

    def render(self, data: Any, accepted_media_type: str | None = None, renderer_context: Any = None) -> Any:
        if renderer_context["response"].exception:
            return ErrorPageRenderer().render(data, accepted_media_type, renderer_context)
        return super().render(data, accepted_media_type, renderer_context)


class HtmlOrJsonNegotiation(IgnoreAccept):
    def select_renderer(
        self, request: Request, renderers: Any, format_suffix: str | None = None
    ) -> tuple[BaseRenderer, str]:
        kind = "html" if prefers_html(request._request) else "json"
        renderer = next(each for each in renderers if each.format == kind)
        return renderer, renderer.media_type


class PageView(APIView):
    """Public page inside the API's frame: counted, with error pages for browsers."""

    authentication_classes = ()
    permission_classes = (AllowAny,)
    renderer_classes = (EnvelopeRenderer, ErrorPageRenderer)
    content_negotiation_class: type[BaseContentNegotiation] = HtmlOrJsonNegotiation
    metadata_class = None  # pages do not answer OPTIONS
    schema = None


class FormPage(PageView):
    """Page with a form, without a session and cookies (docs/adr/0047)."""

    parser_classes = (FormParser,)
    # A POST counts against the same limit per client address as the API's endpoint of this name.
    action = ""

    def get_throttles(self) -> list[BaseThrottle]:
        extra = [SignInThrottle()] if self.request.method == "POST" else []
        return [*super().get_throttles(), *extra]

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        # A form of another site could sign this browser in to an account of that site's owner, and have it pay.
        if request.method == "POST" and request.headers.get("Sec-Fetch-Site", "none") not in ("same-origin", "none"):
            raise Forbidden()

    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Any:
        response["Cache-Control"] = "no-store"
        response["Referrer-Policy"] = NO_REFERRER  # the address may hold a token
        return super().finalize_response(request, response, *args, **kwargs)


class SeeOther(HttpResponseRedirect):
    # 303 makes the browser GET the next page, whatever the form's method was.
    status_code = 303


def render_message(title: str, *sentences: str, link: tuple[str, str], status: int = 200) -> HttpResponse:
    """Render a page that reports a result, with a button `link`: label and address."""
    label, url = link
    shown = {"title": title, "sentences": sentences, "label": label, "url": url}
    return render_page("web/message.html", shown, status)


def get_field(request: Request, name: str) -> str:
    return cast(dict[str, str], request.data).get(name, "")


def read_form(request: Request, *serializers: type[Serializer[Any]]) -> dict[str, Any]:
    """Return the valid fields of a form, or raise ValidationError."""
    found: dict[str, Any] = {}
    for each in serializers:
        serializer = each(data={name: get_field(request, name) for name in each().get_fields()})
        serializer.is_valid(raise_exception=True)
        found |= serializer.validated_data
    return found


def field_errors(error: Exception) -> dict[str, str]:
    """Return sentences about the wrong fields of a form, by field."""
    found: dict[str, str] = {}
    fields: Sequence[dict[str, str]] = translate(error).extra.get("fields", ())
    for each in fields:
        sentence = FIELD_ERRORS.get(each["code"], each["message"])
        found[each["field"]] = f"{found.get(each['field'], '')} {sentence}".strip()
    return found


def _render(template: str, context: dict[str, Any]) -> str:
    return render_to_string(template, {"version": __version__, **context})


def _error_context(request: ApiRequest, status: int, text: ErrorText | None = None) -> dict[str, Any]:
    title, advice = text or ERROR_TEXTS.get(status) or ERROR_TEXTS[400 if status < 500 else 500]
    return {"status": status, "title": title, "advice": advice, "request_id": request.id}
