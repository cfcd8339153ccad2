"""Markdown becomes HTML without inline script or style."""

import pytest

from web.documentation.rendering import render, resolve, slugify


def test_it_works() -> None:
    page = render("# Title\n\n## Part `one`\n\n```bash run\nls # all\n```\n\n| a |\n|---|\n| b |\n", "start")
    assert (page.title, [heading.anchor for heading in page.headings]) == ("Title", ["title", "part-one"])
    assert '<h2 id="part-one">' in page.html and '<span class="c1"># all</span>' in page.html
    assert '<div class="table" tabindex="0"><table>' in page.html and "style=" not in page.html


def test_html_is_text() -> None:
    page = render("<script>alert(1)</script>\n\n[x](javascript:alert(1))\n\n```\n<b>\n```\n", "start")
    assert "<script" not in page.html and 'href="javascript' not in page.html and "<b>" not in page.html


def test_equal_headings_get_different_anchors() -> None:
    assert [heading.anchor for heading in render("## A\n\n## A\n", "x").headings] == ["a", "a_1"]


@pytest.mark.parametrize(
    ("target", "name", "url"),
    [
        ("../errors.md#rate_limited", "guides/limits", "/docs/errors#rate_limited"),
        ("streams.md", "guides/limits", "/docs/guides/streams"),
        ("../index.md", "guides/limits", "/docs"),
        ("stream.svg", "index", "/docs/stream.svg"),
        ("#figures", "guides/limits", "/docs/guides/limits#figures"),
        ("/docs/api", "index", "/docs/api"),
        ("https://example.com/a.md", "index", "https://example.com/a.md"),
    ],
)
def test_links_lead_to_pages(target: str, name: str, url: str) -> None:
    assert resolve(target, name) == url


def test_anchors_are_those_of_mkdocs() -> None:
    assert slugify("What is kept, and for how long") == "what-is-kept-and-for-how-long"
