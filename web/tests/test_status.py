"""GET /status: what /health says, for people."""

import re
import time
from pathlib import Path

import httpx
import pytest
from django.conf import settings

from lunaos.embedded.servers import until
from lunaos.infra import redis
from lunaos.infra.task_queue import beat_scheduler
from testing.client import Api
from testing.loopback.upstream import Upstream
from testing.servers import daphne
from web import provider_reachability
from web.status import PARTS
from web.tasks import HEARTBEAT_KEY
from web.tests.test_landing import words


def test_it_works(api: Api, upstream: Upstream) -> None:
    for key in (HEARTBEAT_KEY, beat_scheduler.HEARTBEAT_KEY):
        redis.client().set(key, time.time())
    provider_reachability.probe([upstream.base_url, settings.EMBEDDINGS_BASE_URL])
    assert until(lambda: api.get("/health").json()["data"]["status"] == "ok", 5)
    response = api.get("/status")
    shown = words(response)
    assert response.status_code == 200
    assert response.headers["Content-Type"] == "text/html; charset=utf-8"
    assert response.headers["Cache-Control"] == "no-store" and "Set-Cookie" not in response.headers
    assert "All parts work." in shown
    for name, purpose in PARTS.values():
        assert re.search(rf"{name} {purpose} [\d.]+ ms Works", shown), name
    assert re.search(r"Checked \d+ \w+ 20\d\d, \d\d:\d\d:\d\d UTC", shown)
    assert '<meta http-equiv="refresh" content="30">' in response.text
    assert set(PARTS) == set(api.get("/health").json()["data"]["services"])


def test_a_part_that_may_be_missed(api: Api, upstream: Upstream) -> None:
    redis.client().set(beat_scheduler.HEARTBEAT_KEY, time.time())
    provider_reachability.probe([upstream.base_url, settings.EMBEDDINGS_BASE_URL])
    assert until(lambda: api.get("/health").json()["data"]["services"]["queue"]["status"] == "degraded", 5)
    response = api.get("/status")
    assert response.status_code == 200
    assert "The platform is up, with trouble in background work." in words(response)
    assert "No worker has reported." in words(response)


@pytest.mark.parametrize(
    ("variable", "value", "part"),
    [
        ("DATABASE_URL", "postgres://lunaos@//nonexistent/lunaos", "Database"),
        ("REDIS_URL", "unix:///nonexistent/valkey.sock?db=0", "Cache"),
    ],
)
def test_without_a_required_part(database: None, tmp_path: Path, variable: str, value: str, part: str) -> None:
    with daphne(tmp_path / "web.log", "/openapi.json", **{variable: value}) as url:
        response = httpx.get(f"{url}/status", timeout=30)
        health = httpx.get(f"{url}/health", timeout=30)
    assert response.status_code == health.status_code == 503
    shown = words(response)
    assert "The platform is down, with trouble in" in shown
    assert re.search(rf"{part} .* ms Down Cannot be reached\.", shown)
    assert "nonexistent" not in response.text and "Error" not in shown
    assert "script-src 'self'" in response.headers["Content-Security-Policy"]
    assert response.headers["X-RateLimit-Limit"] == "60" and response.headers["X-Request-Id"]


def test_it_is_never_refused(api: Api) -> None:
    assert {api.get("/status").status_code for _ in range(65)} == {200}
