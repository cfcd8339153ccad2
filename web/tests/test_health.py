"""GET /health."""

import re
import socket
import time
from contextlib import nullcontext
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from django.conf import settings
from django.db import connection, transaction
from django.db.models.functions import Now

from lunaos import __version__
from lunaos.embedded.servers import until
from lunaos.infra import redis
from lunaos.infra.task_queue.beat_scheduler import HEARTBEAT_KEY as BEAT_KEY
from rag.models import IndexJob, Repository, Upload
from runs import services as run_services
from runs.models import Run
from testing.client import Api
from testing.loopback.upstream import Upstream
from testing.servers import daphne, process
from web import health, health_checks, provider_reachability
from web.health_checks import Degraded
from web.tasks import HEARTBEAT_KEY

PARTS = {"database", "cache", "queue", "beat", "disk", "vectors", "llm"}


@pytest.fixture
def looked(api: Api, upstream: Upstream) -> None:
    """Beat's job has looked at the providers, as it does every ten seconds."""
    provider_reachability.probe([upstream.base_url, settings.EMBEDDINGS_BASE_URL])
    assert until(lambda: api.get("/health").json()["data"]["services"]["llm"]["status"] == "ok", 5)


@pytest.mark.local_model
def test_it_works(api: Api, looked: None) -> None:
    response = api.get("/health")

    report = response.json()["data"]
    assert response.status_code == 200
    assert report["version"] == __version__
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", report["timestamp"])
    assert set(report["services"]) == PARTS
    for name in PARTS - {"queue", "beat"}:
        assert report["services"][name]["status"] == "ok"
        assert 0 <= report["services"][name]["latencyMs"] < 1000


@pytest.mark.local_model
def test_without_a_worker_the_queue_is_degraded_and_with_one_it_is_well(
    api: Api, tmp_path: Path, provider_environment: dict[str, str]
) -> None:
    assert until(lambda: api.get("/health").json()["data"]["services"]["llm"]["status"] == "degraded", 5)
    report = api.get("/health").json()["data"]
    assert (report["status"], report["services"]["queue"]["status"]) == ("degraded", "degraded")
    assert report["services"]["queue"]["detail"] == "no worker has reported"

    redis.client().set(BEAT_KEY, time.time())
    worker = ["-m", "celery", "-A", "lunaos", "worker", "--pool", "solo", "--without-gossip", "--without-mingle"]
    with process(worker, tmp_path / "worker.log", **provider_environment):
        assert until(lambda: api.get("/health").json()["data"]["status"] == "ok", 20)


def test_chains_that_wait_are_counted_and_after_a_while_degrade_it(api: Api, alice: Any) -> None:
    def queue() -> dict[str, Any]:
        return api.get("/health").json()["data"]["services"]["queue"]

    redis.client().set(HEARTBEAT_KEY, time.time())
    well = {
        "status": "ok",
        "latencyMs": 0,
        "backlog": 0,
        "oldestWaitingS": 0.0,
        "indexing": {"backlog": 0, "bytes": 0, "oldestWaitingS": 0.0},
    }
    assert until(lambda: queue() | {"latencyMs": 0} == well, 5)
    for waiting_s in (1, 12):
        run = run_services.create(
            user=alice, chain="custom", steps=["run"], provider="deepseek", model="m", text="x", request_id="r",
            status="queued",
        ).run  # fmt: skip
        Run.objects.filter(pk=run.pk).update(heartbeat_at=Now() - timedelta(seconds=waiting_s))
    assert until(lambda: queue()["backlog"] == 2, 5)
    found = queue()
    assert found["status"] == "ok" and 12 <= found["oldestWaitingS"] < 25

    Run.objects.filter(user=alice).update(heartbeat_at=Now() - timedelta(seconds=31))
    assert until(lambda: queue().get("detail") == "chains wait for a worker", 5)
    assert queue()["status"] == "degraded"


def test_index_jobs_are_counted_and_an_owner_without_a_turn_degrades_it(api: Api, alice: Any, bob: Any) -> None:
    """Jobs of an owner who has a turn may wait for an hour."""

    def sent(user: Any, status: str, waiting_s: int) -> None:
        repository, _ = Repository.objects.get_or_create(user=user, name="default", model="m")
        job = IndexJob.objects.create(repository=repository, model="m", status=status)
        IndexJob.objects.filter(pk=job.pk).update(created_at=Now() - timedelta(seconds=waiting_s))
        Upload.objects.create(job=job, path="a.py", content="x", bytes=500)

    def queue() -> dict[str, Any]:
        return dict(api.get("/health").json()["data"]["services"]["queue"])

    redis.client().set(HEARTBEAT_KEY, time.time())
    sent(alice, "running", 3600)
    sent(alice, "queued", 3000)
    assert until(lambda: queue()["indexing"] == {"backlog": 2, "bytes": 1000, "oldestWaitingS": 0.0}, 5)
    assert queue()["status"] == "ok"
    sent(bob, "queued", 61)
    assert until(lambda: queue()["indexing"]["backlog"] == 3, 5)
    found = queue()
    assert (found["status"], found["detail"]) == ("degraded", "index jobs wait for a worker")
    assert found["indexing"]["backlog"] == 3 and 61 <= found["indexing"]["oldestWaitingS"] < 90


def test_an_unreachable_model_degrades_and_is_no_503(database: None, tmp_path: Path) -> None:
    changes = {"DEEPSEEK_BASE_URL": "http://127.0.0.1:9/v1", "DEEPSEEK_API_KEY": "sk-planted"}
    provider_reachability.probe([changes["DEEPSEEK_BASE_URL"]])
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


def test_beat_in_a_worker_reports_and_ends_with_it(database: None, tmp_path: Path, api: Api) -> None:
    worker = ["-m", "celery", "-A", "lunaos", "worker", "--pool", "threads", "--concurrency", "2"]
    with process(worker, tmp_path / "worker.log", LUNAOS_BEAT_SCHEDULE=str(tmp_path / "schedule")):
        assert until(lambda: api.get("/health").json()["data"]["services"]["beat"]["status"] == "ok", 20)
    assert (tmp_path / "schedule").exists()
    redis.client().delete(HEARTBEAT_KEY)
    assert not until(lambda: redis.client().exists(HEARTBEAT_KEY) == 1, 6)  # a beat would report every 5 s


def test_a_beat_that_is_silent_degrades_it(api: Api) -> None:
    def beat() -> tuple[str, str | None]:
        found = api.get("/health").json()["data"]["services"]["beat"]
        return found["status"], found.get("detail")

    assert until(lambda: beat() == ("degraded", "beat has not reported"), 5)
    redis.client().set(BEAT_KEY, time.time())
    assert until(lambda: beat() == ("ok", None), 5)
    redis.client().set(BEAT_KEY, time.time() - 31)
    assert until(lambda: beat()[0] == "degraded", 5)


def test_a_cache_that_takes_no_writes_is_down(database: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Answers of a Valkey without memory, disk or replicas, from a stand-in."""

    def refuse(*_: object) -> None:
        raise redis.ResponseError("NOREPLICAS Not enough good replicas to write.")

    monkeypatch.setattr(health, "cache", SimpleNamespace(set=refuse))
    assert health_checks.run_checks({"cache": health.CHECKS["cache"]})["cache"]["status"] == "down"


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


def test_a_cache_that_hangs_says_nothing_of_other_parts(database: None, settings: Any) -> None:
    """Valkey accepts the connection and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        settings.REDIS_URL = f"redis://127.0.0.1:{silent.getsockname()[1]}/0"
        redis.probe_client.cache_clear()
        try:
            for check in (health._beat, lambda: provider_reachability.last_result("http://127.0.0.1:9/v1")):
                with pytest.raises(Degraded, match="not known: the cache does not answer"):
                    check()
        finally:
            redis.probe_client.cache_clear()
