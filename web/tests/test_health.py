"""GET /health"""

import re
import time
from contextlib import nullcontext
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from django.db import connection, transaction
from django.db.models.functions import Now

import runs.services as runs
from lunaos import __version__, redis
from lunaos.beat import HEARTBEAT_KEY as BEAT_KEY
from lunaos.embedded.servers import until
from runs.models import Run
from testing.client import Api
from testing.servers import daphne, process
from web import health
from web.parts import Degraded
from web.tasks import HEARTBEAT_KEY

PARTS = {"database", "cache", "queue", "beat", "disk", "vectors", "llm"}


def test_it_works(api: Api) -> None:
    response = api.get("/health")

    report = response.json()["data"]
    assert response.status_code == 200
    assert report["version"] == __version__
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", report["timestamp"])
    assert set(report["services"]) == PARTS
    for name in PARTS - {"queue", "beat"}:
        assert report["services"][name]["status"] == "ok"
        assert 0 <= report["services"][name]["latencyMs"] < 1000


def test_without_a_worker_the_queue_is_degraded_and_with_one_it_is_well(api: Api, tmp_path: Path) -> None:
    report = api.get("/health").json()["data"]
    assert (report["status"], report["services"]["queue"]["status"]) == ("degraded", "degraded")
    assert report["services"]["queue"]["detail"] == "no worker has reported"

    redis.client().set(BEAT_KEY, time.time())
    worker = ["-m", "celery", "-A", "lunaos", "worker", "--pool", "solo", "--without-gossip", "--without-mingle"]
    with process(worker, tmp_path / "worker.log"):
        assert until(lambda: api.get("/health").json()["data"]["status"] == "ok", 20)


def test_chains_that_wait_are_counted_and_after_a_while_degrade_it(api: Api, alice: Any) -> None:
    def queue() -> dict[str, Any]:
        return api.get("/health").json()["data"]["services"]["queue"]

    redis.client().set(HEARTBEAT_KEY, time.time())
    assert queue() | {"latencyMs": 0} == {"status": "ok", "latencyMs": 0, "backlog": 0, "oldestWaitingS": 0.0}
    for waiting_s in (1, 12):
        run = runs.begin(
            user=alice, chain="custom", steps=["run"], provider="deepseek", model="m", text="x", request_id="r",
            status="queued",
        ).run  # fmt: skip
        Run.objects.filter(pk=run.pk).update(heartbeat_at=Now() - timedelta(seconds=waiting_s))
    found = queue()
    assert (found["status"], found["backlog"]) == ("ok", 2) and 12 <= found["oldestWaitingS"] < 25

    Run.objects.filter(user=alice).update(heartbeat_at=Now() - timedelta(seconds=31))
    assert (queue()["status"], queue()["detail"]) == ("degraded", "chains wait for a worker")


def test_an_unreachable_model_degrades_and_is_no_503(database: None, tmp_path: Path) -> None:
    changes = {"DEEPSEEK_BASE_URL": "http://127.0.0.1:9/v1", "DEEPSEEK_API_KEY": "sk-planted"}
    with daphne(tmp_path / "web.log", **changes) as url:
        response = httpx.get(f"{url}/health")
        assert response.status_code == 200
        assert response.json()["data"]["services"]["llm"]["status"] == "down"
        assert "127.0.0.1" not in response.text and "planted" not in response.text


def test_beat_and_worker_report_by_themselves(database: None, tmp_path: Path, api: Api) -> None:
    beat = ["-m", "celery", "-A", "lunaos", "beat", "--schedule", str(tmp_path / "schedule"), "--pidfile", ""]
    worker = ["-m", "celery", "-A", "lunaos", "worker", "--pool", "threads", "--concurrency", "2"]
    with process(worker, tmp_path / "worker.log"), process(beat, tmp_path / "beat.log"):
        assert until(lambda: redis.client().exists(HEARTBEAT_KEY) == 1, 20)
        assert until(lambda: api.get("/health").json()["data"]["services"]["beat"]["status"] == "ok", 20)
        redis.client().delete(HEARTBEAT_KEY)
        assert until(lambda: redis.client().exists(HEARTBEAT_KEY) == 1, 20)


def test_a_beat_that_is_silent_degrades_it(api: Api) -> None:
    def beat() -> tuple[str, str | None]:
        found = api.get("/health").json()["data"]["services"]["beat"]
        return found["status"], found.get("detail")

    assert beat() == ("degraded", "beat has not reported")
    redis.client().set(BEAT_KEY, time.time() - 31)
    assert beat()[0] == "degraded"
    redis.client().set(BEAT_KEY, time.time())
    assert beat() == ("ok", None)


def test_a_cache_that_takes_no_writes_is_down(api: Api) -> None:
    redis.client().config_set("min-replicas-to-write", 1)
    try:
        response = api.get("/health")
    finally:
        redis.client().config_set("min-replicas-to-write", 0)
    assert response.status_code == 503
    assert response.json()["data"]["services"]["cache"]["status"] == "down"


def test_a_disk_that_is_almost_full_degrades_it(settings: Any) -> None:
    settings.MIN_FREE_BYTES = 2**60
    with pytest.raises(Degraded, match="almost full"):
        health.CHECKS["disk"]()
    settings.MIN_FREE_BYTES, settings.LUNAOS_HOME = 0, Path("/no/such/folder")
    health.CHECKS["disk"]()


@pytest.mark.parametrize("refused", [True, False])
def test_a_database_that_refuses_writes(database: None, monkeypatch: pytest.MonkeyPatch, refused: bool) -> None:
    monkeypatch.setattr(health, "writes_refused_within", lambda seconds: refused)
    with pytest.raises(Degraded, match="refused") if refused else nullcontext():
        health.CHECKS["database"]()


def test_a_database_that_only_reads_is_down(database: None) -> None:
    with transaction.atomic():
        connection.cursor().execute("SET TRANSACTION READ ONLY")
        with pytest.raises(health.ReadOnly):
            health.CHECKS["database"]()


def test_bad_credentials_do_not_matter(api: Api) -> None:
    assert api.get("/health", headers={"Authorization": "Bearer x"}).status_code == 200


def test_wrong_method(api: Api) -> None:
    assert api.post("/health").status_code == 405
