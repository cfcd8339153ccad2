"""Outages: rate limits fail open; all else answers 503, never 401."""

import os
from pathlib import Path
from typing import Any

import httpx
import pytest

from lunaos.embedded import servers
from lunaos.embedded.home import Home
from lunaos.embedded.supervisor import Supervisor
from testing.client import PASSWORD, Api, error
from testing.servers import daphne


def test_without_valkey_people_sign_up_and_are_not_limited(database: None, tmp_path: Path) -> None:
    nowhere = "unix:///nonexistent/valkey.sock?db=0"
    with daphne(tmp_path / "web.log", "/openapi.json", REDIS_URL=nowhere) as url:
        new = {"email": "new@example.com", "password": PASSWORD}
        # a worker that cannot be told must not hold it up
        response = httpx.post(f"{url}/auth/signup", json=new, timeout=15)
        assert response.status_code == 201
        token = response.json()["data"]["token"]
        me = httpx.get(f"{url}/auth/me", headers={"Authorization": f"Bearer {token}"})
        assert me.status_code == 200
        assert me.headers["X-RateLimit-Limit"] == "60"
        health = httpx.get(f"{url}/health")
        assert health.status_code == 503
        assert health.json()["data"]["services"]["cache"]["status"] == "down"
        guess = {"email": "new@example.com", "password": "a wrong one"}
        statuses = [httpx.post(f"{url}/auth/login", json=guess, timeout=15).status_code for _ in range(11)]
        assert statuses == [401] * 10 + [429]  # the process counts by itself


def test_without_postgresql_it_is_503(api: Api, alice: Any, tmp_path: Path) -> None:
    nowhere = "postgres://lunaos@//nonexistent/lunaos"
    with daphne(tmp_path / "web.log", "/openapi.json", DATABASE_URL=nowhere) as url:
        response = httpx.get(f"{url}/auth/me", headers=api.as_(alice), timeout=30)
        assert error(response) == (503, "service_unavailable")
        assert int(response.headers["Retry-After"]) > 0
        health = httpx.get(f"{url}/health", timeout=30)
        assert health.status_code == 503
        report = health.json()["data"]
        assert report["status"] == "degraded"
        assert report["services"]["database"]["status"] == "down"
        assert "nonexistent" not in health.text


@pytest.fixture
def own_postgres(tmp_path: Path) -> Any:
    """Return a PostgreSQL of this test's own, which may be stopped."""
    home = Home(tmp_path / "home")
    program, url = servers.postgres(home, durable=False)
    supervisor = Supervisor(dict(os.environ), print_line=lambda line: None)
    supervisor.start(program)
    yield supervisor, program, url
    supervisor.stop()


def test_postgresql_restarted_is_found_again(own_postgres: Any, tmp_path: Path, database: None) -> None:
    supervisor, program, url = own_postgres
    with daphne(tmp_path / "web.log", "/openapi.json", DATABASE_URL=url) as address:

        def state() -> str:
            return httpx.get(f"{address}/health", timeout=30).json()["data"]["services"]["database"]["status"]

        assert state() == "ok"
        supervisor.stop()
        assert servers.until(lambda: state() == "down", 5)
        supervisor.start(program)
        assert servers.until(lambda: state() == "ok", 15)
