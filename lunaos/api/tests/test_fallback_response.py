"""Failures outside Django's handler are answered with the contract's error."""

import asyncio
import threading
from typing import Any

import orjson
import pytest
from django.core.signals import request_started
from django.db import OperationalError

from lunaos.api.middleware import SECURITY_HEADERS
from lunaos.infra.postgresql import limits
from lunaos.infra.thread_pools import Pool

Answer = tuple[int, dict[str, str], dict[str, Any]]


@pytest.fixture
def ask(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Send a request to the application without a server."""
    monkeypatch.setattr(limits, "_of_process", limits.NONE)  # which the module sets
    from lunaos import asgi

    def ask(query: bytes = b"", path: str = "/") -> Answer:
        sent: list[dict[str, Any]] = []
        bodies = [{"type": "http.request", "body": b""}]

        async def receive() -> dict[str, Any]:
            if not bodies:
                await asyncio.Event().wait()
            return bodies.pop()

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        headers = [(b"host", b"localhost"), (b"x-request-id", b"mine")]
        scope = {"type": "http", "method": "GET", "path": path, "query_string": query, "headers": headers}
        asyncio.run(asgi.SharedThreadsHandler()(scope, receive, send))
        found = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
        return sent[0]["status"], found, orjson.loads(b"".join(each.get("body", b"") for each in sent[1:]))

    return ask


@pytest.mark.parametrize(
    ("failure", "status", "code"),
    [(OperationalError("starting up"), 503, "service_unavailable"), (ValueError("planted"), 500, "internal_error")],
)
def test_a_signal_that_fails(ask: Any, failure: Exception, status: int, code: str) -> None:
    def fail(**_: object) -> None:
        raise failure

    request_started.connect(fail)
    try:
        answer = ask()
    finally:
        request_started.disconnect(fail)
    assert_framed(answer, status, code)
    assert "planted" not in str(answer)
    assert ("Retry-After" in answer[1]) == (status == 503)


def test_a_query_that_is_no_text(ask: Any) -> None:
    assert_framed(ask(b"q=\xff"), 400, "bad_request")


def assert_framed(answer: Answer, status: int, code: str) -> None:
    found, headers, body = answer
    assert (found, body["code"]) == (status, code)
    assert headers["Content-Type"] == "application/json"
    assert {name: headers[name] for name in SECURITY_HEADERS} == SECURITY_HEADERS
    assert headers["X-Request-Id"] == "mine" and headers["Server-Timing"].startswith("total;dur=")
    assert int(headers["X-RateLimit-Limit"]) == 60 and {"X-RateLimit-Remaining", "X-RateLimit-Reset"} < set(headers)


def test_probes_wait_for_no_thread_of_other_requests(ask: Any) -> None:
    """Requests that waited for a hung database held /health, /ready and the liveness probe's file for 21 s."""
    from lunaos import asgi

    pool, free = asgi.SharedThreadsHandler.pools[Pool.SHARED], threading.Event()
    held = [pool.submit(free.wait, 30) for _ in range(pool._max_workers)]
    try:
        assert {ask(path=path)[0] for path in ("/ready", "/health")} <= {200, 503}
        assert not any(each.done() for each in held)
    finally:
        free.set()
