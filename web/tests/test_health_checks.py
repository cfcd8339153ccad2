"""Checks of parts: one of each at a time, in threads of their own."""

import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.conf import settings
from django.urls import get_resolver

from lunaos.infra import redis
from lunaos.infra.thread_pools import FILES, PROBES, get_middleware_pool, get_pool
from testing.client import Api
from testing.loopback.upstream import Upstream
from web import health, health_checks, provider_reachability
from web.health_checks import Degraded


class Counted:
    """A check that counts its calls, and waits while it is held."""

    def __init__(self) -> None:
        self.calls, self.go_on, self.begun = 0, threading.Event(), threading.Event()
        self.go_on.set()

    def __call__(self) -> dict[str, Any]:
        self.calls += 1
        self.begun.set()
        self.go_on.wait(60)
        return {"call": self.calls}


@pytest.fixture
def check() -> Iterator[Counted]:
    made = Counted()
    yield made
    made.go_on.set()
    health_checks.clear_results()


PROBED = ("/health", "/ready", "/status", "/metrics")


def test_it_works(check: Counted) -> None:
    answer = health_checks.run_checks({"part": check})["part"]
    assert (answer["status"], answer["call"]) == ("ok", 1) and answer["latencyMs"] >= 0


def test_a_result_serves_all_requests_within_a_second(check: Counted, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health_checks, "RESULT_TTL_S", 60.0)
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: health_checks.run_checks({"part": check})["part"]["call"], range(71)))
    assert (answers, check.calls) == ([1] * 71, 1)
    monkeypatch.setattr(health_checks, "RESULT_TTL_S", -1.0)
    assert health_checks.run_checks({"part": check})["part"]["call"] == 2


def test_a_check_that_hangs_is_made_once_and_holds_up_no_other(check: Counted, monkeypatch: pytest.MonkeyPatch) -> None:
    other = Counted()
    check.go_on.clear()
    monkeypatch.setattr(health_checks, "CHECK_TIMEOUT_S", 0.1)
    for _ in range(30):
        found = health_checks.run_checks({"part": check, "other": other})
        assert (found["part"]["status"], found["part"]["detail"], found["other"]["status"]) == ("down", "timeout", "ok")
    assert check.calls == 1


def test_an_answer_that_came_too_late_is_not_kept(check: Counted, monkeypatch: pytest.MonkeyPatch) -> None:
    check.go_on.clear()
    monkeypatch.setattr(health_checks, "CHECK_TIMEOUT_S", 0.05)
    monkeypatch.setattr(health_checks, "RESULT_TTL_S", 60.0)
    assert health_checks.run_checks({"part": check})["part"]["detail"] == "timeout"
    check.go_on.set()
    health_checks._runner(check)._thread.submit(int).result(60)  # the late one is over
    monkeypatch.setattr(health_checks, "CHECK_TIMEOUT_S", 60.0)
    health_checks._runner(check)._began -= 100
    assert health_checks.run_checks({"part": check})["part"]["call"] == 2


def test_each_route_that_probes_ask_has_threads_of_its_own() -> None:
    pools = {get_middleware_pool(path, "GET") for path in (*PROBED, "/static/web/favicon.svg")}
    assert pools == set(PROBES)
    assert {get_pool(get_resolver().resolve(path).func, "GET") for path in PROBED} == pools - {FILES}


@pytest.mark.local_model
def test_no_request_for_health_reaches_a_provider(api: Api, upstream: Upstream, settings: Any) -> None:
    """A listener in place of the default provider: beat connects, checks do not."""
    with socket.create_server(("127.0.0.1", 0)) as provider:
        provider.settimeout(10)
        url = f"http://127.0.0.1:{provider.getsockname()[1]}/v1"
        deepseek = {**settings.LLM_PROVIDERS["deepseek"], "base_url": url, "api_key": "k"}
        settings.LLM_PROVIDERS = {**settings.LLM_PROVIDERS, "deepseek": deepseek}
        for check in (health._llm, health._vectors):
            with pytest.raises(Degraded, match="no worker has looked"):
                check()
        provider_reachability.probe([url])
        provider.accept()[0].close()
        assert [health._llm()["status"] for _ in range(20)] == ["ok"] * 20
        provider.setblocking(False)
        with pytest.raises(BlockingIOError):
            provider.accept()


def test_a_provider_that_refuses_is_down(database: None) -> None:
    provider_reachability.probe(["http://127.0.0.1:9/v1", ""])
    found = provider_reachability.last_result("http://127.0.0.1:9/v1")
    assert (found["status"], found["detail"]) == ("down", "ConnectionRefusedError")


def test_one_probe_at_a_time(database: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Name servers that hang must not take the threads of other jobs."""
    check = Counted()
    check.go_on.clear()
    monkeypatch.setattr(provider_reachability, "_connect", lambda host, port: check())
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(provider_reachability.probe, ["http://127.0.0.1:9/v1"])
        assert check.begun.wait(10)
        provider_reachability.probe(["http://127.0.0.1:9/v1"])
        check.go_on.set()
        first.result(10)
    assert check.calls == 1


def test_without_valkey_reachability_is_not_known(database: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def down() -> Any:
        raise redis.RedisError

    monkeypatch.setattr(redis, "probe_client", down)
    with pytest.raises(Degraded, match="the cache does not answer"):
        provider_reachability.last_result(settings.EMBEDDINGS_BASE_URL or "http://127.0.0.1:9/v1")
