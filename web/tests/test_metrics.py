"""GET /metrics: for who shows the token, with every figure that operators watch."""

import threading
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import orjson
import pytest
from django.db.models.functions import Now
from django.test import RequestFactory
from prometheus_client.parser import text_string_to_metric_families
from redis import Redis

from accounts import tasks
from billing.models import MonthlyUsage
from billing.payments import webhooks
from lunaos.celery import serve_metrics
from lunaos.embedded.servers import free_port, until
from lunaos.infra import redis
from lunaos.infra.observability import metrics
from runs import services as run_services
from runs.eventlog.log import size
from runs.metering import spending
from runs.models import DailySpending, Run
from testing.client import METRICS_TOKEN as TOKEN
from testing.client import Api, events
from testing.loopback.upstream import DONE, Answer, Upstream, delta
from web import health_checks
from web import metrics as figures
from web.tasks import EVENT_LOG_KEY, measure_event_log, worker_heartbeat
from web.views import MetricsView

Figures = dict[str, float]


def parsed(text: str) -> Figures:
    """Return samples by name and sorted labels, as in `name{a="b"}`."""
    found: Figures = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = ",".join(f'{name}="{value}"' for name, value in sorted(sample.labels.items()))
            found[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
    return found


def scraped(url: str, token: str = TOKEN) -> Figures:
    response = httpx.get(f"{url}/metrics", headers={"Authorization": f"Bearer {token}"}, timeout=30)
    assert response.status_code == 200
    assert response.headers["Content-Type"].startswith("text/plain; version=")
    return parsed(response.text)


def counted(url: str, names: list[str]) -> Any:
    """Return a function that tells by how much figures grow from now on."""
    before = scraped(url)
    return lambda: {name: scraped(url).get(name, 0) - before.get(name, 0) for name in names}


def test_it_works(api: Api, server: str, alice: Any, upstream: Upstream) -> None:
    upstream.respond_with(Answer(pieces=[delta("one"), 0.1, delta("two"), delta("", "stop"), DONE]))
    names = [
        'lunaos_http_requests_total{method="POST",route="/agents/execute",status="200"}',
        'lunaos_http_request_seconds_count{route="/agents/execute"}',
        'lunaos_first_chunk_seconds_count{provider="deepseek"}',
        'lunaos_chunk_gap_seconds_count{provider="deepseek"}',
        'lunaos_tokens_total{agent="code-review",kind="output",provider="deepseek"}',
        'lunaos_cost_usd_total{agent="code-review",provider="deepseek"}',
        'lunaos_runs_total{kind="agent",status="succeeded"}',
    ]
    added = counted(server, names)
    assert api.execute(alice).status_code == 200

    found = added()
    assert found.pop(names[4]) > 0 and 0 < found.pop(names[5]) < 0.01
    assert set(found.values()) == {1}
    assert scraped(server)["process_resident_memory_bytes"] > 10**7


@pytest.mark.parametrize("authorization", [None, "", "Bearer", "Bearer wrong", f"bearer {TOKEN}", TOKEN, "Bearer \xe9"])
def test_without_the_token(api: Api, authorization: str | None) -> None:
    headers = {} if authorization is None else {"Authorization": authorization.encode("latin-1")}
    response = api.get("/metrics", headers=headers)  # type: ignore[arg-type]
    assert (response.status_code, response.json()["code"]) == (401, "not_authenticated")
    assert "lunaos_" not in response.text


def test_without_a_token_set_it_is_not_found(database: None, settings: Any) -> None:
    assert settings.METRICS_TOKEN == ""
    for authorization in ("", "Bearer", "Bearer ", f"Bearer {TOKEN}"):
        request = RequestFactory().get("/metrics", headers={"Authorization": authorization})
        assert MetricsView.as_view()(request).status_code == 404


def test_labels_are_the_routes_and_never_what_a_client_made_up(api: Api, server: str, alice: Any) -> None:
    headers = api.as_(alice)
    for path in (
        "/nowhere/planted",
        "/runs/7b0c1a52-0000-4000-8000-000000000000",
        "/static/planted.js",
        "/admin/planted/",
    ):
        api.get(path, headers=headers)
    api.request("PLANTED", "/health")
    api.get("/metrics", headers={"Host": "planted.example.com"})
    text = "\n".join(scraped(server))
    assert "planted" not in text and "7b0c1a52" not in text
    for route in ("/runs/<uuid:pk>", "/admin/", "unknown", "/health"):
        assert f'route="{route}"' in text
    assert 'method="other"' in text


def test_a_stream_counts_as_long_as_it_is_sent(api: Api, server: str, alice: Any, upstream: Upstream) -> None:
    upstream.respond_with(Answer(pieces=[delta("one"), "wait", delta("", "stop"), DONE]))
    name = 'lunaos_streams_active{transport="sse"}'
    body = {"agent": "code-review", "context": "x"}
    with api.stream("POST", "/agents/execute", json=body, headers=api.as_(alice)) as response:
        pieces = response.iter_text()
        assert next(pieces)
        assert scraped(server)[name] == 1
        upstream.resume.set()
        assert "done" in "".join(pieces)
    assert until(lambda: scraped(server)[name] == 0, 5)


def test_failures_and_refusals_are_counted(api: Api, server: str, alice: Any, upstream: Upstream) -> None:
    failed = 'lunaos_provider_failures_total{code="provider_unavailable",provider="deepseek"}'
    refused = 'lunaos_quota_refusals_total{tier="free"}'
    added = counted(server, [failed, refused])
    upstream.script = lambda asked: Answer(status=429)
    assert api.execute(alice).status_code == 503
    MonthlyUsage.objects.filter(user=alice).update(executions=100)
    assert api.execute(alice).status_code == 403
    assert added() == {failed: 2, refused: 1}  # one was tried again


def test_an_event_of_stripe(database: None) -> None:
    """The event is handled in this very process, whose registry can be read."""
    event = webhooks.StripeEvent("evt_lag", "invoice.paid", datetime.now(UTC) - timedelta(seconds=90), "", None)
    name = 'lunaos_webhook_lag_seconds_sum{kind="invoice.paid"}'
    before = parsed(metrics.exposition().decode()).get(name, 0)
    for _ in range(2):  # a repetition says nothing of the lag
        webhooks.handle(event)
    assert 90 <= parsed(metrics.exposition().decode())[name] - before < 100


def test_waiting_jobs(server: str, api: Api, alice: Any) -> None:
    run = run_services.create(
        user=alice, chain="custom", steps=["run"], provider="deepseek", model="m", text="x", request_id="r",
        status="queued",
    ).run  # fmt: skip
    Run.objects.filter(pk=run.pk).update(heartbeat_at=Now() - timedelta(seconds=12))
    worker_heartbeat()

    assert until(lambda: scraped(server)['lunaos_queue_length{queue="chains"}'] == 1, 6)  # a snapshot is 3 s old
    found = scraped(server)
    assert 12 <= found['lunaos_queue_oldest_seconds{queue="chains"}'] < 30
    assert found['lunaos_queue_length{queue="indexing"}'] == 0
    assert (found["lunaos_index_backlog_bytes"], found["lunaos_index_unserved_seconds"]) == (0, 0)
    assert time.time() - found["lunaos_worker_heartbeat_timestamp_seconds"] < 20
    assert found['lunaos_valkey_memory_bytes{kind="used"}'] > 10**5


def test_what_the_servers_keys_cost_today(database: None) -> None:
    day = spending.cost_today().day
    for free, shard, cost_usd in ((True, 0, "0.25"), (True, 1, "0.5"), (False, 0, "4")):
        DailySpending.objects.create(day=day, free=free, shard=shard, cost_usd=cost_usd)
    DailySpending.objects.create(day=day - timedelta(days=1), free=True, shard=0, cost_usd=9)
    figures.shared_figures.forget()
    health_checks.clear_results()
    found = parsed(figures.exposition().decode())
    figures.shared_figures.forget()
    assert found['lunaos_spend_usd_today{tier="free"}'] == 0.75
    assert found['lunaos_spend_usd_today{tier="paying"}'] == 4


def test_short_jobs_that_wait(database: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Messages in a queue without a worker."""
    monkeypatch.setattr("web.metrics.SHORT_JOBS_QUEUE", "untaken")
    tasks.send_welcome.apply_async(("7b0c1a52-0000-4000-8000-000000000000",), queue="untaken")
    sent = time.time()
    figures.shared_figures.forget()
    health_checks.clear_results()
    assert until(lambda: time.time() > sent, 1)
    length, oldest_s = figures.shared_figures()["cache"]["waiting"]["untaken"]
    figures.shared_figures.forget()
    assert length == 1 and 0 < oldest_s < 20


def test_the_event_log_is_weighed(api: Api, alice: Any, upstream: Upstream, monkeypatch: Any) -> None:
    for _ in range(3):
        assert events(api.execute(alice))
    assert until(lambda: size()[0] == 3, 5)
    runs_exactly, bytes_exactly = size()
    monkeypatch.setattr("runs.eventlog.log.MAX_SAMPLED_LOGS", 1)
    estimated = size()
    assert (runs_exactly, estimated[0]) == (3, 3)
    assert 300 < bytes_exactly < 30_000 and bytes_exactly / 2 < estimated[1] < bytes_exactly * 2
    measure_event_log()
    assert orjson.loads(redis.client().get(EVENT_LOG_KEY) or b"{}")["runs"] == 3


def test_a_scrape_outlives_what_is_down(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Valkey that refuses connections, and a PostgreSQL that never answers."""
    go_on, came_back = threading.Event(), threading.Event()

    def hang(sql: str) -> None:
        go_on.wait(60)
        came_back.set()

    monkeypatch.setattr("web.health_checks.query", hang)
    monkeypatch.setattr("lunaos.infra.redis.client", lambda: Redis(port=9))
    monkeypatch.setattr("web.metrics.shared_figures", lambda: health_checks.run_checks(figures.CHECKS))
    health_checks.clear_results()
    found = parsed(figures.exposition().decode())
    assert not came_back.is_set()
    go_on.set()
    health_checks.clear_results()
    assert {name: value for name, value in found.items() if "dependency" in name} == {
        'lunaos_dependency_up{part="database"}': 0,
        'lunaos_dependency_up{part="cache"}': 0,
    }
    assert not any("queue" in name or "event_log" in name for name in found)


def test_a_worker_has_a_port_of_its_own(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.METRICS_TOKEN, settings.METRICS_PORT = TOKEN, free_port()
    monkeypatch.setenv("LUNAOS_LISTEN", "127.0.0.1")
    url = f"http://127.0.0.1:{settings.METRICS_PORT}"
    serve_metrics()
    assert httpx.get(f"{url}/metrics").status_code == 401
    assert httpx.get(f"{url}/").status_code == 404
    found = scraped(url)
    assert found["process_resident_memory_bytes"] > 10**7
    assert not any(name.startswith("lunaos_queue") for name in found)  # what all share, the web processes tell
    serve_metrics()  # the port is taken: no reason to end the worker
