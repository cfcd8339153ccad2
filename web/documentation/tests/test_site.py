"""The pages at /docs, their links, the search and /llms.txt."""

import re

import pytest

from agents import catalogue
from chains import presets
from testing.client import Api
from web.documentation import site
from web.documentation.rendering import page_url

IN_THE_PLATFORM = {"/docs/api", "/openapi.json", "/llms.txt", "/status", "/pricing"}
FILES = {"/docs/load.svg"}


def test_it_works(api: Api) -> None:
    response = api.get("/docs/start", headers={"Accept": "text/html"})
    assert response.status_code == 200 and response.headers["Content-Type"].startswith("text/html")
    assert "<title>Start · LunaOS</title>" in response.text and 'aria-current="page">Start</a>' in response.text
    assert "style=" not in response.text and "<script>" not in response.text
    assert "script-src 'self'" in response.headers["Content-Security-Policy"]


def test_a_page_that_has_not_changed_is_not_sent_again(api: Api) -> None:
    first = api.get("/docs/errors")
    again = api.get("/docs/errors", headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.content, again.headers["ETag"]) == (304, b"", first.headers["ETag"])


@pytest.mark.parametrize("path", ["/docs/start.md", "/docs/index.md", "/docs/agents/seo.md", "/docs/adr/README.md"])
def test_each_page_is_there_as_markdown(api: Api, path: str) -> None:
    response = api.get(path)
    assert response.headers["Content-Type"] == "text/markdown; charset=utf-8"
    assert response.status_code == 200 and response.text.startswith("# ")


def test_pictures(api: Api) -> None:
    response = api.get("/docs/load.svg")
    assert (response.status_code, response.headers["Content-Type"]) == (200, "image/svg+xml")
    assert api.get("/docs/nowhere.svg").status_code == 404


@pytest.mark.parametrize(
    "name", ["nowhere", "../README", "..%2FREADME.md", "guides", "agents/nobody", "%00", "a.md.md"]
)
def test_what_is_no_page_is_not_found(api: Api, name: str) -> None:
    assert api.get(f"/docs/{name}").status_code == 404


def test_each_agent_and_chain_has_a_page(database: None) -> None:
    names = [f"agents/{slug}" for slug in catalogue.current().agents]
    names += [f"chains/{preset.slug}" for preset in presets.list_offered()]
    assert len(names) == 28 + 6
    assert [name for name in names if name not in site.names() or site.page(name) is None] == []
    agents = site.markdown("agents")
    assert agents is not None and all(f"]({name}.md)" in agents for name in names[:28])


def test_prompts_are_not_published(database: None) -> None:
    for agent in catalogue.current().agents.values():
        assert agent.prompt.splitlines()[0] not in (site.markdown(f"agents/{agent.slug}") or "")


def test_each_link_leads_somewhere(database: None) -> None:
    pages = {name: page for name in site.names() if (page := site.page(name))}
    anchors = {page_url(name): {heading.anchor for heading in page.headings} for name, page in pages.items()}
    broken = [
        (name, link)
        for name, page in pages.items()
        for link in page.links
        if link.startswith("/") and not leads_somewhere(link, anchors)
    ]
    assert broken == []


def leads_somewhere(link: str, anchors: dict[str, set[str]]) -> bool:
    path, _, anchor = link.partition("#")
    if path in IN_THE_PLATFORM | FILES:
        return True
    return path in anchors and (not anchor or anchor in anchors[path])


def test_every_page_of_the_navigation_exists(database: None) -> None:
    assert [name for names in site.SECTIONS.values() for name in names if site.page(name) is None] == []


def test_search_finds_pages_with_all_words(api: Api) -> None:
    found = api.get("/docs/search", params={"q": "idempotency retry"}).text
    assert 'href="/docs/guides/idempotency"' in found
    assert "No page holds all words" in api.get("/docs/search", params={"q": "xyzzy <b>"}).text


def test_llms_txt_has_the_form_of_llmstxt_org(api: Api) -> None:
    response = api.get("/llms.txt")
    assert response.headers["Content-Type"] == "text/plain; charset=utf-8"
    lines = [line for line in response.text.splitlines() if line]
    assert lines[0] == "# LunaOS" and lines[1].startswith("> ")
    links = re.findall(r"^- \[[^\]]+\]\(http.*?/docs/(\S+)\.md\)$", response.text, re.MULTILINE)
    assert {"start", "errors", "agents/code-review", "chains/full-review"} <= set(links)


def test_the_reference_has_a_box_for_streams(api: Api) -> None:
    page = api.get("/docs/api").text
    assert "data-stream-box" in page and '<option value="code-review">' in page and "<style" not in page
