"""CORS: an allow-list from the settings, and the headers a page may read."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from testing.servers import daphne

ORIGIN = "https://app.example.com"


@pytest.fixture
def url(database: None, tmp_path: Path) -> Iterator[str]:
    with daphne(tmp_path / "web.log", LUNAOS_CORS_ORIGINS=ORIGIN) as url:
        yield url


def test_allowed_and_other_origins(url: str) -> None:
    allowed = httpx.get(f"{url}/agents/list", headers={"Origin": ORIGIN})
    assert allowed.headers["Access-Control-Allow-Origin"] == ORIGIN
    exposed = allowed.headers["Access-Control-Expose-Headers"]
    for name in ("X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset", "Retry-After", "X-Request-Id"):
        assert name in exposed
    for name in ("X-Usage-Used", "X-Usage-Limit", "X-Usage-Remaining", "X-Usage-Warning", "X-Run-Id"):
        assert name in exposed

    other = httpx.get(f"{url}/agents/list", headers={"Origin": "https://evil.example"})
    assert "Access-Control-Allow-Origin" not in other.headers

    preflight = httpx.options(
        f"{url}/agents/execute", headers={"Origin": ORIGIN, "Access-Control-Request-Method": "POST"}
    )
    assert preflight.status_code == 200
    assert "authorization" in preflight.headers["Access-Control-Allow-Headers"]
    assert preflight.headers["X-RateLimit-Limit"] == "60"
