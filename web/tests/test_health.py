"""GET /health"""

import re
from pathlib import Path

import httpx

from lunaos import __version__
from lunaos.embedded.servers import until
from testing.client import Api
from testing.servers import daphne, process

PARTS = {"database", "cache", "queue", "vectors", "llm"}


def test_it_works(api: Api) -> None:
    response = api.get("/health")

    report = response.json()["data"]
    assert response.status_code == 200
    assert report["version"] == __version__
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", report["timestamp"])
    assert set(report["services"]) == PARTS
    for name in PARTS - {"queue"}:
        assert report["services"][name]["status"] == "ok"
        assert 0 <= report["services"][name]["latencyMs"] < 1000


def test_without_a_worker_the_queue_is_degraded_and_with_one_it_is_well(api: Api, tmp_path: Path) -> None:
    report = api.get("/health").json()["data"]
    assert (report["status"], report["services"]["queue"]["status"]) == ("degraded", "degraded")
    assert report["services"]["queue"]["detail"] == "no worker has reported"

    worker = ["-m", "celery", "-A", "lunaos", "worker", "--pool", "solo", "--without-gossip", "--without-mingle"]
    with process(worker, tmp_path / "worker.log"):
        assert until(lambda: api.get("/health").json()["data"]["status"] == "ok", 20)


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
    from lunaos import redis
    from web.tasks import HEARTBEAT_KEY

    with process(worker, tmp_path / "worker.log"), process(beat, tmp_path / "beat.log"):
        assert until(lambda: redis.client().exists(HEARTBEAT_KEY) == 1, 20)
        redis.client().delete(HEARTBEAT_KEY)
        assert until(lambda: redis.client().exists(HEARTBEAT_KEY) == 1, 20)


def test_bad_credentials_do_not_matter(api: Api) -> None:
    assert api.get("/health", headers={"Authorization": "Bearer x"}).status_code == 200


def test_wrong_method(api: Api) -> None:
    assert api.post("/health").status_code == 405
