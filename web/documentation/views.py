"""Views of the documentation: pages, Markdown, search, the reference of the API."""

import hashlib
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.utils.cache import get_conditional_response
from django.utils.http import quote_etag
from drf_spectacular.utils import extend_schema
from drf_spectacular.views import SpectacularSwaggerSplitView
from rest_framework.request import Request
from rest_framework.response import Response

from agents import catalogue
from lunaos.errors import NotFound
from web import pages
from web.documentation import site

MARKDOWN, PICTURE = ".md", ".svg"
MARKDOWN_TYPE = "text/markdown; charset=utf-8"
MAX_QUERY_CHARACTERS = 100


class PageView(pages.PageView):
    """A page of the documentation; as Markdown where the address ends with .md."""

    def get(self, request: Request, name: str) -> HttpResponse:
        if name.endswith(MARKDOWN):
            return _markdown(request, name.removesuffix(MARKDOWN))
        if name.endswith(PICTURE):
            return _picture(request, name.removesuffix(PICTURE))
        found = site.page(name)
        if found is None:
            raise NotFound(f"There is no page {name[:MAX_QUERY_CHARACTERS]!r} in the documentation. See /docs.")
        context = {
            "page": found,
            "name": name,
            "sections": site.navigation(name),
            "outline": site.outline(found),
        }
        return _tagged(request, pages.render_page("web/docs_page.html", context))


class SearchView(pages.PageView):
    """Results of a search, which needs no JavaScript."""

    def get(self, request: Request) -> HttpResponse:
        query = request.query_params.get("q", "")[:MAX_QUERY_CHARACTERS].replace("\0", "")
        context = {"query": query, "results": site.search(query), "sections": site.navigation("")}
        return pages.render_page("web/docs_search.html", context)


class LlmsView(pages.PageView):
    """Index of the documentation for language models (llmstxt.org)."""

    def get(self, request: Request) -> HttpResponse:
        text = site.llms_txt(settings.PUBLIC_URL)
        return _tagged(request, HttpResponse(text, content_type="text/plain; charset=utf-8"))


class ReferenceView(SpectacularSwaggerSplitView):
    """Swagger UI, below a box that runs an agent and shows the stream."""

    renderer_classes = (pages.PageRenderer,)  # type: ignore[assignment]

    @extend_schema(exclude=True)
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        response: Response = super().get(request, *args, **kwargs)  # type: ignore[no-untyped-call]
        if isinstance(response.data, dict):
            response.data["agents"] = list(catalogue.current().agents.values())
        return response


def _markdown(request: Request, name: str) -> HttpResponse:
    text = site.markdown(name)
    if text is None:
        raise NotFound(f"There is no page {name[:MAX_QUERY_CHARACTERS]!r} in the documentation. See /llms.txt.")
    return _tagged(request, HttpResponse(text, content_type=MARKDOWN_TYPE))


def _picture(request: Request, name: str) -> HttpResponse:
    content = site.read(name, PICTURE)
    if content is None:
        raise NotFound(f"There is no picture {name[:MAX_QUERY_CHARACTERS]!r} in the documentation. See /docs.")
    return _tagged(request, HttpResponse(content, content_type="image/svg+xml"))


def _tagged(request: Request, response: HttpResponse) -> HttpResponse:
    """Return the response with an ETag, or 304 if the client has it."""
    etag = quote_etag(hashlib.sha256(response.content).hexdigest()[:32])
    response["ETag"] = etag
    response["Cache-Control"] = "private, max-age=60"  # private: its headers state this client's limits
    inner: HttpRequest = request._request
    return get_conditional_response(inner, etag=etag, response=response) or response
