"""What one request costs: SQL statements, commands to Valkey, and hops to threads. Whoever adds one says why."""

import asyncio
import math
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import orjson
import pytest
from django.db.backends.utils import CursorWrapper
from redis.asyncio.connection import AbstractConnection as AsyncConnection
from redis.connection import AbstractConnection

from accounts.signin import jwt
from agents.providers import connections
from lunaos.infra import ttl_cache
from lunaos.infra.postgresql import limits
from testing.loopback.upstream import Upstream

AGENT = orjson.dumps({"agent": "code-review", "context": "def add(a, b): return a - b"})
# Not of a request: the process's own lock, taken at its first run.
OF_THE_PROCESS = "pg_try_advisory_lock"


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    counts: Counter[str] = Counter()
    execute, submit = CursorWrapper.execute, ThreadPoolExecutor.submit
    send: Any = AbstractConnection.send_packed_command
    send_async: Any = AsyncConnection.send_packed_command

    def count_statement(self: Any, sql: Any, params: Any = None) -> Any:
        counts["statements"] += OF_THE_PROCESS not in str(sql)
        return execute(self, sql, params)

    def count_hop(self: Any, function: Any, /, *args: Any, **kwargs: Any) -> Any:
        counts["hops"] += 1
        return submit(self, function, *args, **kwargs)

    def count_commands(self: Any, *args: Any, **kwargs: Any) -> Any:
        counts["round trips to Valkey"] += 1
        return send(self, *args, **kwargs)

    async def count_async_commands(self: Any, *args: Any, **kwargs: Any) -> Any:
        counts["round trips to Valkey"] += 1
        return await send_async(self, *args, **kwargs)

    monkeypatch.setattr(CursorWrapper, "execute", count_statement)
    monkeypatch.setattr(ThreadPoolExecutor, "submit", count_hop)
    monkeypatch.setattr(AbstractConnection, "send_packed_command", count_commands)
    monkeypatch.setattr(AsyncConnection, "send_packed_command", count_async_commands)
    return counts


@pytest.fixture
def application(monkeypatch: pytest.MonkeyPatch, upstream: Upstream) -> Any:
    monkeypatch.setattr(limits, "_of_process", limits.NONE)  # which the module sets
    from django.conf import settings

    provider = {**settings.LLM_PROVIDERS["deepseek"], "base_url": upstream.base_url, "api_key": "key"}
    monkeypatch.setitem(settings.LLM_PROVIDERS, "deepseek", provider)
    monkeypatch.setattr(ttl_cache, "TTL_S", math.inf)  # which a slow test would exceed
    from lunaos import asgi

    asgi.leave_connections_to_views()  # Django's test client connects one of them again
    return asgi.SharedThreadsHandler()


async def ask(application: Any, user: Any, method: str, path: str, body: bytes = b"") -> bytes:
    """Send a request to the application, and return the body of its answer."""
    sent: list[dict[str, Any]] = []
    bodies = [{"type": "http.request", "body": body}]

    async def receive() -> dict[str, Any]:
        if not bodies:
            await asyncio.Event().wait()
        return bodies.pop()

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    headers = [(b"host", b"localhost"), (b"content-type", b"application/json")]
    headers += [(b"content-length", b"%d" % len(body)), (b"authorization", f"Bearer {jwt.issue(user)}".encode())]
    scope = {"type": "http", "method": method, "path": path, "query_string": b"", "headers": headers}
    await application(scope, receive, send)
    assert sent[0]["status"] == 200, sent
    return b"".join(each.get("body", b"") for each in sent[1:])


def cost(application: Any, counted: Counter[str], user: Any, *request: Any) -> dict[str, int]:
    """Return what the third of three equal requests costs; the first ones fill what is kept for all users."""

    async def third() -> dict[str, int]:
        try:
            for _ in range(2):
                await ask(application, user, *request)
                await settle(counted)
            counted.clear()
            await ask(application, user, *request)
            await settle(counted)
            return dict(counted)
        finally:
            await connections.close_all()

    return asyncio.run(third())


async def settle(counted: Counter[str]) -> None:
    """Wait until what goes on after an answer, as the end of a run's log, has been counted."""
    before = None
    while before != dict(counted):
        before = dict(counted)
        await asyncio.sleep(0.3)


def test_the_account(application: Any, counted: Counter[str], database: None, alice: Any) -> None:
    assert cost(application, counted, alice, "GET", "/auth/me") == {
        "hops": 1,  # the view with its rendering
        "statements": 1,  # the user, unless the token is revoked
        "round trips to Valkey": 1,  # the rate limit
    }


def test_an_execution(application: Any, counted: Counter[str], database: None, carol: Any) -> None:
    assert cost(application, counted, carol, "POST", "/agents/execute", AGENT) == {
        "hops": 2,  # the view, and the statement that ends the run
        "statements": 4,  # the user, own provider keys, the run's start and its end
        "round trips to Valkey": 3,  # the rate limit, the events, the last event
    }
