"""The accounting that bounds event logs, and their short life after the end."""

import asyncio
import uuid
from collections.abc import Iterator
from typing import Any

import orjson
import pytest

from lunaos.embedded.servers import until
from lunaos.errors import ServiceUnavailable
from lunaos.infra import event_loop, redis
from runs import outcomes
from runs import services as run_services
from runs.eventlog import capacity, log
from runs.eventlog.log import AppendRequest
from runs.eventlog.recorder import Recorder
from runs.models import Run, Status
from testing.client import Api, answer, error, takes_effect
from testing.loopback.upstream import Upstream
from web.tasks import measure_event_log

CHUNK = orjson.dumps({"type": "chunk", "content": "word "})


@pytest.fixture(autouse=True)
def fresh_usage(database: None) -> Iterator[None]:
    capacity.cached_usage.forget()
    yield
    redis.client().delete(log.TOTAL_KEY, log.SIZES_KEY)
    capacity.cached_usage.forget()


def append(run_id: uuid.UUID, after: int, lines: list[bytes], ttl_s: int | None = None) -> log.AppendResult | None:
    return event_loop.submit(log.append(AppendRequest(run_id, after, lines, 1, ttl_s))).result(10)[0]


def create_run(user: Any, **fields: Any) -> Run:
    return run_services.create(
        user=user, agent="run", provider="deepseek", model="m", text="x", request_id="r", **fields
    ).run


def fill_logs(percent: int, settings: Any) -> None:
    redis.client().set(log.TOTAL_KEY, -(-settings.ALL_EVENT_LOGS_MAX_BYTES * percent // 100))  # rounded up
    capacity.cached_usage.forget()


@pytest.mark.parametrize(("entries", "lines"), [(1, 1), (400, 1), (40, 25), (4, 500)])
def test_accounting_is_not_below_the_real_size(entries: int, lines: int) -> None:
    run_id = uuid.uuid4()
    for n in range(entries):
        assert append(run_id, n * lines, [CHUNK] * lines)
    takes: Any = redis.client().memory_usage(log.channel(run_id), samples=0)
    assert takes <= capacity.measure().used_bytes <= 4 * takes


def test_deleted_logs_are_subtracted() -> None:
    kept, gone = uuid.uuid4(), uuid.uuid4()
    for run_id in (kept, gone):
        append(run_id, 0, [CHUNK] * 100)
    both = capacity.measure().used_bytes
    redis.client().delete(log.channel(gone))
    assert capacity.sweep().used_bytes == both // 2
    redis.client().delete(log.channel(kept))
    assert (capacity.sweep().used_bytes, redis.client().hlen(log.SIZES_KEY)) == (0, 0)


def test_logs_of_an_older_release_are_added() -> None:
    name = log.channel(uuid.uuid4())
    redis.client().xadd(name, {"e": CHUNK * 1_000}, id="1000-0")
    assert capacity.sweep().used_bytes == capacity.sweep().used_bytes >= 1_000 * len(CHUNK)


def test_the_log_of_a_run_that_has_ended_is_kept_for_minutes(api: Api, alice: Any, upstream: Upstream) -> None:
    run_id = api.execute(alice).headers["X-Run-Id"]
    assert until(lambda: 0 < redis.client().ttl(log.channel(run_id)) <= 120, 5)
    redis.client().delete(log.channel(run_id))
    assert answer(api.get(f"/runs/{run_id}/events", headers=api.as_(alice))) == "Hello world"


def test_the_sweep_shortens_what_has_ended_and_nothing_else(alice: Any) -> None:
    """The logs are those of runs whose last append failed."""
    ended, under_way = create_run(alice), create_run(alice)
    for run in (ended, under_way):
        append(run.pk, 0, [CHUNK])
    outcomes.finish(ended, outcomes.Outcome(Status.SUCCEEDED, "deepseek", "m", shown=True))
    capacity.sweep()
    assert redis.client().ttl(log.channel(ended.pk)) <= 120 < redis.client().ttl(log.channel(under_way.pk))
    redis.client().expire(log.channel(ended.pk), 7)
    capacity.sweep()
    assert redis.client().ttl(log.channel(ended.pk)) <= 7  # the lifetime is never extended


def test_the_log_of_a_run_ended_from_outside_is_shortened(alice: Any) -> None:
    run = create_run(alice)
    append(run.pk, 0, [CHUNK])
    assert outcomes.end_from_log(run, Status.CANCELLED)
    assert redis.client().ttl(log.channel(run.pk)) <= 120


def test_above_the_bound_nothing_is_appended(settings: Any) -> None:
    fill_logs(100, settings)
    run_id = uuid.uuid4()
    assert append(run_id, 0, [CHUNK]) is None
    assert not redis.client().exists(log.channel(run_id))


def test_events_that_a_full_log_refuses_are_shown_and_retried_later(settings: Any, monkeypatch: Any) -> None:
    sent: list[int] = []
    send = log.append

    async def counted(*appends: AppendRequest) -> list[log.AppendResult | None]:
        sent.append(len(appends))
        return await send(*appends)

    async def run() -> Recorder:
        writes = Recorder(uuid.uuid4())
        for n in range(50):
            writes.record({"type": "chunk", "content": str(n)})
            await writes.flush()
            await asyncio.sleep(0)
        return writes

    monkeypatch.setattr(log, "append", counted)
    fill_logs(100, settings)
    writes = event_loop.submit(run()).result(20)
    assert (writes.shown, writes.logged, sent) == (50, 0, [1])


@pytest.mark.parametrize(("percent", "begins"), [(79, True), (80, False)])
def test_no_run_begins_above_80_percent(alice: Any, settings: Any, percent: int, begins: bool) -> None:
    fill_logs(percent, settings)
    if begins:
        assert create_run(alice)
        return
    with pytest.raises(ServiceUnavailable) as refusal:
        create_run(alice)
    assert refusal.value.retry_after == capacity.RETRY_AFTER_S
    assert not Run.objects.filter(user=alice).exists()


def test_clients_and_health_see_a_full_log(api: Api, alice: Any, upstream: Upstream, settings: Any) -> None:
    fill_logs(85, settings)
    assert takes_effect(lambda: api.execute(alice).status_code == 503)
    response = api.execute(alice)
    assert error(response) == (503, "service_unavailable") and int(response.headers["Retry-After"]) > 0
    cache = api.get("/health").json()["data"]["services"]["cache"]
    assert (cache["status"], "85 %" in cache["detail"]) == ("degraded", True)
    redis.client().delete(log.TOTAL_KEY)
    assert takes_effect(lambda: api.execute(alice).status_code == 200)


def test_operators_get_alerts(settings: Any, monkeypatch: Any) -> None:
    told: list[str] = []
    monkeypatch.setattr("accounts.auditlog.alerts.send", lambda kind, message, **facts: told.append(kind))
    measure_event_log()
    fill_logs(80, settings)
    measure_event_log()
    monkeypatch.setattr(redis.client(), "info", lambda _: {"used_memory": 80, "maxmemory": 100})
    measure_event_log()
    assert told == ["event_logs_full", "event_logs_full", "valkey_full"]


def test_event_logs_on_another_server(alice: Any, settings: Any) -> None:
    """The test uses another database of the same server."""
    base, _, number = settings.REDIS_URL.partition("?db=")
    settings.EVENT_LOG_REDIS_URL = f"{base}?db={(int(number) + 8) % 16}"
    redis._event_log.cache_clear()
    try:
        run_id = uuid.uuid4()
        append(run_id, 0, [CHUNK])
        assert redis.event_log().exists(log.channel(run_id), log.TOTAL_KEY) == 2
        assert not redis.client().exists(log.channel(run_id), log.TOTAL_KEY)
        assert event_loop.submit(log.read(run_id)).result(10) == [(1, CHUNK)]
        assert capacity.sweep().used_bytes > 0
    finally:
        redis.event_log().delete(log.channel(run_id), log.TOTAL_KEY, log.SIZES_KEY)
        redis._event_log.cache_clear()
