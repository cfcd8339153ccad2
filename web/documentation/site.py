"""The pages of the documentation: their Markdown, their order, their search."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from django.conf import settings

from web.documentation import catalogue_pages
from web.documentation.rendering import Heading, Rendered, page_url, render

FOLDER = settings.BASE_DIR / "docs"
NAME = re.compile(r"[A-Za-z0-9_-]{1,64}(/[A-Za-z0-9_-]{1,64}){0,3}\Z")
EXAMPLE_URL = "http://localhost:8000"  # in the files; served with the address of this platform
MARKS = re.compile(r"[`*#|]+|-{2,}|\]\([^)]*\)?|\[")  # Markdown's own, in the excerpts of a search
MAX_RESULTS = 20
EXCERPT_CHARACTERS = 160
# The navigation: sections with the names of their pages. Pages that are not in it are reached by links and the search.
SECTIONS = {
    "Start": ("index", "start"),
    "Guides": (
        *("guides/authentication", "guides/streams", "guides/idempotency", "guides/limits", "guides/chains"),
        *("guides/code-search", "guides/provider-keys", "guides/billing", "guides/production"),
    ),
    "Catalogue": ("agents", "chains"),
    "Reference": ("errors", "events", "headers", "pagination", "provider-answers", "api-changelog"),
    "Administer": ("administer/roles", "administer/support"),
    "Operate": (
        *(
            "operate/index",
            "operate/install",
            "operate/configure",
            "operate/limits",
            "operate/upgrade",
            "operate/backup",
        ),
        *("operate/retention", "operate/monitoring", "operate/alerts", "operate/troubleshooting"),
        "operate/kubernetes",
    ),
    "Develop": ("architecture", "performance", "adr/README"),
}


@dataclass(frozen=True, slots=True)
class Result:
    title: str
    url: str
    excerpt: str


def markdown(name: str) -> str | None:
    """Return the Markdown of a page; None if there is no such page."""
    generated = catalogue_pages.markdown(name)
    if generated is not None:
        return generated
    text = read(name)
    return None if text is None else text.replace(EXAMPLE_URL, settings.PUBLIC_URL) + catalogue_pages.appendix(name)


def read(name: str, suffix: str = ".md") -> str | None:
    path = FOLDER / f"{name}{suffix}"
    # The name comes from the path of a request: NAME admits no `..`.
    if not NAME.match(name) or not path.is_file():
        return None
    return path.read_text()


def page(name: str) -> Rendered | None:
    text = markdown(name)
    return None if text is None else render(text, name)


def names() -> list[str]:
    """Return all pages: the navigation's in order, the catalogue's, the others."""
    listed = [name for section in SECTIONS.values() for name in section]
    files = sorted(path.relative_to(FOLDER).with_suffix("").as_posix() for path in FOLDER.rglob("*.md"))
    return list(dict.fromkeys([*listed, *catalogue_pages.names(), *files]))


def navigation(name: str) -> list[tuple[str, list[dict[str, object]]]]:
    """Return the sections with title, address and state of each page."""
    here = catalogue_pages.parent(name)
    return [
        (section, [{"title": title(each), "url": page_url(each), "here": each == here} for each in listed])
        for section, listed in SECTIONS.items()
    ]


def title(name: str) -> str:
    found = page(name)
    return found.title if found else name


def outline(found: Rendered) -> list[Heading]:
    return [heading for heading in found.headings if heading.level == 2]


def search(query: str) -> list[Result]:
    """Return the pages that hold all words of a query, the best title first."""
    words = query.lower().split()
    found = [(name, text) for name in names() if words and (text := markdown(name)) is not None]
    hits = [(name, text) for name, text in found if all(word in text.lower() for word in words)]
    hits.sort(key=lambda hit: not any(word in title(hit[0]).lower() for word in words))
    return [Result(title(name), page_url(name), _excerpt(text, words[0])) for name, text in hits[:MAX_RESULTS]]


def llms_txt(base: str) -> str:
    """Return the index for language models (llmstxt.org); its links lead to Markdown."""
    return "\n".join(_llms_lines(base)) + "\n"


def _llms_lines(base: str) -> Iterator[str]:
    yield "# LunaOS"
    yield "\n> AI developer agents behind one REST API. Answers stream as server-sent events."
    yield f"\nThe OpenAPI document is at {base}/openapi.json. Each link below leads to Markdown."
    for section, listed in SECTIONS.items():
        yield f"\n## {section}\n"
        pages = [*listed, *catalogue_pages.names()] if section == "Catalogue" else listed
        for name in pages:
            yield f"- [{title(name)}]({base}/docs/{name}.md)"


def _excerpt(text: str, word: str) -> str:
    at = max(text.lower().find(word) - EXCERPT_CHARACTERS // 2, 0)
    return " ".join(MARKS.sub(" ", text[at : at + EXCERPT_CHARACTERS]).split())
