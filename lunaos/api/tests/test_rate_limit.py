"""Rate limits hold across processes."""

import asyncio
import multiprocessing
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from django.core.cache import caches
from django.test import RequestFactory

from lunaos.api import ratelimit
from lunaos.infra import redis
from testing.client import Api, error
from testing.servers import daphne
from testing.windows import address_with_time_left, user_with_time_left


@pytest.fixture
def second_server(server: str, database: None, tmp_path: Path) -> Iterator[str]:
    with daphne(tmp_path / "second.log") as url:
        yield url


def test_every_counter_expires(database: None) -> None:
    """Keys that several threads create at once expire too."""
    counters, keys = caches["counters"], [f"window-{n}" for n in range(200)]

    def count(key: str) -> None:
        counters.add(key, 0, 60)
        counters.incr(key)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(count, [key for key in keys for _ in range(8)]))
    client = redis.client()
    assert {counters.get(key) for key in keys} == {8}
    assert all(client.ttl(counters.make_key(key)) > 0 for key in keys)


def send(urls: list[str], headers: dict[str, str], address: str) -> list[int]:
    """GET all URLs at once; return the statuses."""

    async def all_at_once() -> list[int]:
        transport = httpx.AsyncHTTPTransport(local_address=address)
        async with httpx.AsyncClient(transport=transport, timeout=30) as client:
            responses = await asyncio.gather(*(client.get(url, headers=headers) for url in urls))
        return [response.status_code for response in responses]

    return asyncio.run(all_at_once())


def storm(urls: list[str], headers: dict[str, str], address: str = "127.0.0.1") -> Counter[int]:
    """61 requests from four client processes, spread over the servers."""
    targets = [urls[n % len(urls)] for n in range(61)]
    with ProcessPoolExecutor(4, mp_context=multiprocessing.get_context("spawn")) as pool:
        jobs = [pool.submit(send, targets[n::4], headers, address) for n in range(4)]
        return Counter(status for job in jobs for status in job.result())


def test_of_61_parallel_requests_one_is_refused(api: Api, second_server: str, make_user: Any) -> None:
    user = user_with_time_left(make_user)
    urls = [f"{api.base_url}/auth/me", f"{second_server}/auth/me"]
    assert storm(urls, api.as_(user)) == {200: 60, 429: 1}


def test_without_credentials_the_address_counts(api: Api, second_server: str) -> None:
    urls = [f"{api.base_url}/agents/list", f"{second_server}/agents/list"]
    assert storm(urls, {}, address_with_time_left(60)) == {200: 60, 429: 1}


def exhausted(api: Api, user: Any, limit: int) -> httpx.Response:
    """Return the response to the request after the limit."""
    for _ in range(limit):
        api.get("/auth/me", headers=api.as_(user))
    return api.get("/auth/me", headers=api.as_(user))


def test_the_refusal(api: Api, make_user: Any) -> None:
    user = user_with_time_left(make_user)
    response = exhausted(api, user, 60)

    assert error(response) == (429, "rate_limited")
    body = response.json()
    assert (body["limit"], body["tier"]) == (60, "free")
    assert body["upgradeUrl"].startswith("http")
    assert response.headers["X-RateLimit-Remaining"] == "0"
    wait = int(response.headers["Retry-After"])
    assert abs(int(response.headers["X-RateLimit-Reset"]) - (time.time() + wait)) <= 2


def test_each_tier_has_its_limit(api: Api, bob: Any, carol: Any) -> None:
    assert api.get("/auth/me", headers=api.as_(bob)).headers["X-RateLimit-Limit"] == "600"
    assert api.get("/auth/me", headers=api.as_(carol)).headers["X-RateLimit-Limit"] == "6000"


def test_remaining_counts_down(api: Api, alice: Any) -> None:
    left = [int(api.get("/auth/me", headers=api.as_(alice)).headers["X-RateLimit-Remaining"]) for _ in range(3)]
    assert left in ([59, 58, 57], [59, 58, 59], [59, 59, 58])  # the window may end meanwhile


def test_health_is_never_refused(api: Api) -> None:
    statuses = {api.get("/health").status_code for _ in range(70)}
    assert statuses == {200}


def test_refused_credentials_count_against_the_address(api: Api) -> None:
    with api.from_address(address_with_time_left(60)) as client:
        for _ in range(60):
            client.get("/auth/me", headers={"Authorization": "Bearer guess"})
        assert error(client.get("/agents/list")) == (429, "rate_limited")


def test_one_request_at_a_time_asks_a_hanging_cache(database: None, monkeypatch: Any) -> None:
    """Forty requests used to hold all threads for 2 s each, so that probes took 20 s."""
    asked, hangs = [], True

    def get_usage(*_: object, **__: object) -> dict[str, int]:
        asked.append(1)
        if hangs:
            raise redis.RedisTimeout("no answer")
        return {"limit": 60, "count": 7, "time_left": 30}

    def counts() -> list[int]:
        return [ratelimit.get_address_window(RequestFactory().get("/"), count=True).count for _ in range(5)]

    now = 1000.0
    monkeypatch.setattr(ratelimit, "get_usage", get_usage)
    monkeypatch.setattr(ratelimit, "_breaker", ratelimit.CircuitBreaker())
    monkeypatch.setattr("lunaos.api.ratelimit.time.monotonic", lambda: now)
    assert (counts(), len(asked)) == ([0] * 5, 1)
    now += ratelimit.OPEN_CIRCUIT_S
    assert (counts(), len(asked)) == ([0] * 5, 2)
    hangs = False
    assert (counts(), len(asked)) == ([0] * 5, 2)
    now += ratelimit.OPEN_CIRCUIT_S
    assert (counts(), len(asked)) == ([7] * 5, 7)


def test_ports_of_one_client_count_as_one(settings: Any, database: None) -> None:
    settings.REST_FRAMEWORK = {**settings.REST_FRAMEWORK, "NUM_PROXIES": 1}
    addresses = ["192.0.2.7:1", "192.0.2.7:2", "192.0.2.7", "[2001:db8::7]:1", "2001:db8::8"]
    requests = [RequestFactory().get("/", HTTP_X_FORWARDED_FOR=address) for address in addresses]
    windows = [ratelimit.get_address_window(request, count=True) for request in requests]
    assert [window.count for window in windows] == [1, 2, 3, 1, 2]
