"""GET /: the front page shows what is in the database, and a request that works."""

import html
import os
import re
import subprocess
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import httpx
import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from agents.models import Agent
from billing.models import Tier
from chains.models import ChainPreset
from testing.client import Api, takes_effect
from testing.loopback.upstream import Upstream
from web import landing


def words(response: httpx.Response) -> str:
    """Return the text of a page, its spaces made one."""
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", "", response.text)))


@pytest.fixture
def kept(api: Api) -> Iterator[None]:
    """Agents and tiers are as before when the test is over, for the web process too."""
    rows: list[Any] = [*Agent.objects.all(), *Tier.objects.all()]
    yield
    for row in rows:
        row.save()
    assert takes_effect(lambda: _is_as_in_the_database(words(api.get("/"))))


def _is_as_in_the_database(page: str) -> bool:
    names = Agent.objects.values_list("name", flat=True)
    prices = [f"${tier.price_usd:.0f} a month" for tier in Tier.objects.all()]
    return f"{len(names)} expert agents" in page and all(each in page for each in (*names, *prices))


def test_it_works(api: Api) -> None:
    assert takes_effect(lambda: _is_as_in_the_database(words(api.get("/"))))  # what tests before have put back
    response = api.get("/")
    assert response.status_code == 200
    assert response.headers["Content-Type"] == "text/html; charset=utf-8"
    assert response.headers["Cache-Control"] == "private, max-age=60"
    assert "Set-Cookie" not in response.headers
    shown = words(response)
    for agent in Agent.objects.all():
        assert agent.name in shown and agent.role in shown and f"{agent.slug} {agent.tier}" in shown
    for preset in ChainPreset.objects.all():
        assert preset.name in shown and preset.slug in shown
    for figure in (
        "$0 a month",
        "$29 a month",
        "$79 a month",
        "6 of 28 agents",
        "100,000 executions",
        "6,000 requests",
        "10 executions at once, 2,000 started an hour",
        "50 executions at once, 20,000 started an hour",
        "100 MB of code in 5 repositories",
        "50 GB of code in 1,000 repositories",
    ):
        assert figure in shown
    for path in ("/docs", "/docs/api", "/openapi.json", "/admin/", "/status"):
        assert f'href="{path}"' in response.text


def test_what_staff_change_is_seen(api: Api, kept: None) -> None:
    Agent.objects.filter(slug="seo").update(
        name="Search <Agent>", role="Finds & ranks.", tier="free", category="new one"
    )
    Tier.objects.filter(name="free").update(stored_bytes=1_250_000, repositories=1, executions_at_once=1)
    Tier.objects.filter(name="pro").update(
        price_usd=Decimal("31.50"), executions=12_345, requests_per_minute=77, api_keys=1, features=["A person to ask"]
    )

    assert takes_effect(lambda: "Finds & ranks." in words(api.get("/")) and "$31.50" in words(api.get("/")))
    response = api.get("/")
    shown = words(response)
    assert "Search &lt;Agent&gt;" in response.text
    for figure in (
        "7 of 28 agents",
        "12,345 executions a month",
        "77 requests a minute",
        "1 API key",
        "new one",
        "1 execution at once, 100 started an hour",
        "1.25 MB of code in 1 repository",
    ):
        assert figure in shown, figure
    assert "A person to ask" in shown


def test_a_chain_that_lost_an_agent_is_not_offered(api: Api, kept: None) -> None:
    Agent.objects.filter(slug="task-planner").delete()
    assert takes_effect(lambda: "new-feature" not in api.get("/").text)
    assert "27 expert agents" in words(api.get("/"))


def test_it_costs_no_query_while_the_catalogue_is_fresh(database: None) -> None:
    landing.page_context()
    with CaptureQueriesContext(connection) as asked:
        landing.page_context()
    assert list(asked) == []


def test_the_request_to_paste_works(api: Api, upstream: Upstream) -> None:
    page = api.get("/").text
    request = html.unescape(re.search(r'<code id="request">(.*?)</code>', page, re.DOTALL)[1])  # type: ignore[index]
    public_url = re.search(r'rel="canonical" href="(.*?)/"', page)[1]  # type: ignore[index]
    script = request.replace(public_url, str(api.base_url).rstrip("/"))
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, timeout=30, env=os.environ)
    assert '"type":"chunk","content":"Hello' in done.stdout and '"type":"done"' in done.stdout, done.stderr


def test_it_is_only_read(api: Api) -> None:
    assert api.post("/").status_code == 405
    refusal = api.post("/").json()
    assert (refusal["code"], refusal["error"]) == ("method_not_allowed", "Method not allowed: use GET or HEAD.")
    assert "Method not allowed" in api.post("/", headers={"Accept": "text/html"}).text
    assert api.options("/", headers={"Accept": "text/html"}).status_code == 405
    assert api.head("/").text == ""


def test_what_clients_ask_for_at_the_root(api: Api) -> None:
    icon = api.get("/favicon.ico")
    assert icon.headers["Content-Type"].startswith("image/") and icon.content[:4] == b"\0\0\1\0"
    assert api.get("/static/web/favicon.svg").headers["Content-Type"] == "image/svg+xml"
    robots = api.get("/robots.txt")
    assert robots.headers["Content-Type"].startswith("text/plain") and "Disallow: /admin/" in robots.text
