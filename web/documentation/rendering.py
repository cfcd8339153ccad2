"""Markdown to HTML by markdown-it and Pygments, without inline script or style."""

import itertools
import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from html import escape
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.token import Token
from pygments import highlight
from pygments.formatters.html import HtmlFormatter
from pygments.lexers import get_lexer_by_name
from pygments.util import ClassNotFound

ROOT_URL = "/docs"
NOT_IN_A_SLUG = re.compile(r"[^\w\s-]")
ABSOLUTE = re.compile(r"[a-z][a-z0-9+.-]*:|/|#", re.IGNORECASE)
# The content security policy forbids both.
MAX_CACHED_PAGES = 512
FORMATTER = HtmlFormatter(nowrap=True)


@dataclass(frozen=True, slots=True)
class Heading:
    level: int
    text: str
    anchor: str


@dataclass(frozen=True, slots=True)
class Rendered:
    """A page: title, HTML with the title, headings, and the targets of its links."""

    title: str
    html: str
    headings: tuple[Heading, ...]
    links: tuple[str, ...]


@lru_cache(maxsize=MAX_CACHED_PAGES)
def render(text: str, name: str) -> Rendered:
    """Render a page's Markdown; `name` is its path below docs/, the base of its links."""
    parser = _parser()
    tokens = parser.parse(text)
    headings = tuple(_anchor_headings(tokens))
    links = tuple(_resolve_links(tokens, name))
    title = next((each.text for each in headings if each.level == 1), name)
    return Rendered(title, parser.renderer.render(tokens, parser.options, {}), headings, links)


def page_url(name: str) -> str:
    return ROOT_URL if name == "index" else f"{ROOT_URL}/{name}"


def slugify(text: str) -> str:
    """Return the anchor of a heading, as MkDocs makes it."""
    return re.sub(r"[-\s]+", "-", NOT_IN_A_SLUG.sub("", text).strip().lower())


@lru_cache(maxsize=1)
def _parser() -> MarkdownIt:
    parser = MarkdownIt("commonmark", {"html": False, "highlight": None}).enable("table")
    for kind in ("fence", "code_block"):
        parser.add_render_rule(kind, _render_code)
    parser.add_render_rule("table_open", lambda self, *rest: '<div class="table" tabindex="0"><table>\n')
    parser.add_render_rule("table_close", lambda self, *rest: "</table></div>\n")
    return parser


def _anchor_headings(tokens: list[Token]) -> Iterator[Heading]:
    seen: dict[str, int] = {}
    for opening, content in itertools.pairwise(tokens):
        if opening.type != "heading_open":
            continue
        text = _plain_text(content)
        slug = slugify(text)
        seen[slug] = seen.get(slug, -1) + 1
        anchor = f"{slug}_{seen[slug]}" if seen[slug] else slug
        opening.attrSet("id", anchor)
        yield Heading(int(opening.tag[1]), text, anchor)


def _plain_text(token: Token) -> str:
    return "".join(each.content for each in token.children or [] if each.type in ("text", "code_inline"))


def _resolve_links(tokens: list[Token], name: str) -> Iterator[str]:
    """Replace links to .md files by the addresses of their pages; yield every target."""
    for token in tokens:
        for child in token.children or []:
            attribute = {"link_open": "href", "image": "src"}.get(child.type)
            if attribute:
                target = resolve(str(child.attrGet(attribute)), name)
                child.attrSet(attribute, target)
                yield target


def resolve(target: str, name: str) -> str:
    """Return the address that a link on a page leads to."""
    if ABSOLUTE.match(target):
        return page_url(name) + target if target.startswith("#") else target
    path, _, anchor = target.partition("#")
    found = posixpath.normpath(posixpath.join(posixpath.dirname(name), path))
    url = page_url(found.removesuffix(".md")) if found.endswith(".md") else f"{ROOT_URL}/{found}"
    return f"{url}#{anchor}" if anchor else url


def _render_code(self: Any, tokens: list[Token], index: int, options: Any, env: Any) -> str:
    token = tokens[index]
    language = token.info.split()[0] if token.info.strip() else ""
    code = _highlight(token.content, language)
    return f'<figure class="code"><pre tabindex="0"><code>{code}</code></pre></figure>\n'


def _highlight(code: str, language: str) -> str:
    try:
        lexer = get_lexer_by_name(language)
    except ClassNotFound:
        return escape(code)
    return highlight(code, lexer, FORMATTER)
