"""GET /ready."""

import signal
from pathlib import Path
from typing import Any

import httpx
import pytest
from django.db import OperationalError, connection

from lunaos.embedded.servers import free_port, responds_ok, until
from lunaos.infra import lazy_imports
from testing.client import Api
from testing.loopback.upstream import DONE, Answer, Upstream, delta
from testing.servers import process
from web import health_checks, readiness

WELL = {"database": "ok", "cache": "ok", "modules": "ok", "process": "ok"}


def test_it_works(api: Api) -> None:
    response = api.get("/ready")
    assert (response.status_code, response.json()) == (200, {"data": {"ready": True, "checks": WELL}})


def test_a_probe_needs_no_credentials_and_is_never_too_many(api: Api) -> None:
    with api.from_address("127.0.6.1") as balancer:
        assert {balancer.get("/ready", headers={"Authorization": "x"}).status_code for _ in range(70)} == {200}
        assert balancer.post("/ready").status_code == 405


@pytest.fixture(autouse=True)
def loaded() -> None:
    """Where this process is asked, as a web process is once it has been for a while."""
    lazy_imports.import_all()


def test_with_a_migration_missing(database: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readiness, "_migrated", False)
    with connection.cursor() as cursor:
        row = cursor.execute(
            "DELETE FROM django_migrations WHERE (app, name) IN (SELECT app, max(name) FROM django_migrations "
            "WHERE app = 'runs' GROUP BY app) RETURNING app, name, applied"
        ).fetchone()
        try:
            report, ready = readiness.check()
        finally:
            cursor.execute("INSERT INTO django_migrations (app, name, applied) VALUES (%s, %s, %s)", row)
    assert (report, ready) == ({"ready": False, "checks": {**WELL, "database": "migrations missing: 1"}}, False)
    health_checks.clear_results()
    assert readiness.check() == ({"ready": True, "checks": WELL}, True)


@pytest.mark.parametrize(
    ("part", "place"), [("database", "web.health_checks.query"), ("cache", "web.readiness._cache")]
)
def test_without_a_part_it_needs(database: None, monkeypatch: pytest.MonkeyPatch, part: str, place: str) -> None:
    def down(*_: object) -> None:
        raise OperationalError("planted at host:5432")

    monkeypatch.setattr(readiness, "_migrated", True)
    monkeypatch.setattr(place, down)
    monkeypatch.setitem(readiness.CHECKS, "cache", readiness._cache)
    assert readiness.check() == ({"ready": False, "checks": {**WELL, part: "down"}}, False)


def test_a_stopping_process_reports_it_on_open_connections(
    tmp_path: Path, database: None, alice: Any, upstream: Upstream, provider_environment: dict[str, str]
) -> None:
    upstream.respond_with(Answer(pieces=[delta("one"), "wait", delta("", "stop"), DONE]))
    port = free_port()
    daphne = ["-m", "daphne", "-b", "127.0.0.1", "-p", str(port), "-v", "0", "lunaos.asgi:application"]
    url = f"http://127.0.0.1:{port}"
    with process(daphne, tmp_path / "web.log", LUNAOS_STOP_GRACE_S="20", **provider_environment) as web:
        assert until(lambda: responds_ok(f"{url}/ready"), 30)
        with httpx.Client(base_url=url) as probe, Api(base_url=url, timeout=30) as client:
            assert probe.get("/ready").status_code == 200
            body = {"agent": "code-review", "context": "x"}
            with client.stream("POST", "/agents/execute", json=body, headers=client.as_(alice)) as response:
                pieces = response.iter_text()
                assert next(pieces)
                web.send_signal(signal.SIGTERM)
                told = next(each for each in iter(lambda: probe.get("/ready"), None) if each.status_code == 503)
                assert told.json()["data"]["checks"] == {**WELL, "process": "stopping"}
                assert told.headers["Connection"] == "close"
                assert not responds_ok(f"{url}/ready")  # a new connection finds another process
                upstream.resume.set()
                assert "done" in "".join(pieces)
