"""A mix of requests in the proportions of a busy day."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import aiohttp

from testing.client import PASSWORD
from testing.stack import Stack

USERS = 20
CODE = "def add(a, b):\n    return a - b\n"
AGENT = {"agent": "code-review", "context": CODE}
CHAIN = {"steps": [{"agent": "code-review"}, {"agent": "testing-validation"}], "context": CODE}
# Out of a hundred requests. Other requests, such as listing keys, cost as much as listing runs.
WEIGHTS = {"sign in": 4, "list agents": 20, "own account": 15, "list runs": 11, "execute": 35, "chain": 5}
WEIGHTS |= {"search": 8, "index": 2}


@dataclass(frozen=True, slots=True)
class Outcome:
    """One request as the client saw it."""

    act: str
    # From when it was due, so that waiting for a late client counts too, to its end; for a stream to its first chunk.
    seconds: float
    # The response's; 0 where the connection broke or the stream had no good end.
    status: int


class Mix:
    """Users with tokens, and the acts. Use as a context manager."""

    def __init__(self, stack: Stack, url: str) -> None:
        self._url, self._stack, self._random, self._signed_in = url, stack, random.Random(7), 0
        self._acts: dict[str, Callable[[dict[str, str]], Awaitable[tuple[float, int]]]] = {
            "sign in": self._sign_in,
            "list agents": lambda user: self._ask("GET", "/agents/list", user),
            "own account": lambda user: self._ask("GET", "/auth/me", user),
            "list runs": lambda user: self._ask("GET", "/runs?limit=20", user),
            "execute": lambda user: self._stream("/agents/execute", AGENT, user),
            "chain": lambda user: self._stream("/chains/execute", CHAIN, user),
            "search": lambda user: self._ask(
                "POST", "/rag/search", user, {"repository": "mix", "query": "add numbers"}
            ),
            "index": self._index,
        }

    async def __aenter__(self) -> "Mix":
        self.session = aiohttp.ClientSession(
            self._url, connector=aiohttp.TCPConnector(limit=0), timeout=aiohttp.ClientTimeout(60)
        )
        self._users = [self._stack.sign_up() for _ in range(USERS)]
        self._stack.sql("UPDATE accounts_user SET tier = 'team'")
        # twenty users act for thousands
        self._stack.sql("UPDATE billing_tier SET executions_at_once = 10000, starts_per_hour = 10000000")
        for user in self._users:
            await self._index(user)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.session.close()

    async def run(self, rate: float, seconds: float) -> list[Outcome]:
        """Send `rate` requests a second at random moments, without waiting for answers."""
        tasks, due, started = [], 0.0, time.perf_counter()
        while (due := due + self._random.expovariate(rate)) < seconds:
            await asyncio.sleep(max(0.0, started + due - time.perf_counter()))
            act = self._random.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
            tasks.append(asyncio.create_task(self._do(act, started + due)))
        return await asyncio.gather(*tasks)

    def user(self) -> dict[str, str]:
        return self._random.choice(self._users)

    async def _do(self, act: str, due: float) -> Outcome:
        try:
            at, status = await self._acts[act](self.user())
        except (aiohttp.ClientError, TimeoutError):
            at, status = time.perf_counter(), 0
        return Outcome(act, at - due, status)

    async def _ask(self, method: str, path: str, user: dict[str, str], body: object = None) -> tuple[float, int]:
        async with self.session.request(method, path, json=body, headers=user) as response:
            await response.read()
            return time.perf_counter(), response.status

    async def _stream(self, path: str, body: object, user: dict[str, str]) -> tuple[float, int]:
        first, text = 0.0, b""
        async with self.session.post(path, json=body, headers=user) as response:
            async for piece in response.content.iter_any():
                text += piece
                if not first and b'"type":"chunk"' in text:
                    first = time.perf_counter()
        good = response.status != 200 or b'done"' in text[-2000:]
        return first or time.perf_counter(), response.status if good else 0

    async def _index(self, user: dict[str, str]) -> tuple[float, int]:
        files = [{"path": f"m{n}.py", "content": f"{CODE}\n# {self._random.random()}\n"} for n in range(3)]
        return await self._ask("POST", "/rag/index", user, {"repository": "mix", "files": files})

    async def _sign_in(self, user: dict[str, str]) -> tuple[float, int]:
        # From alternating addresses, since tries are limited by address.
        self._signed_in += 1
        address = f"127.1.{self._signed_in // 250 % 250}.{self._signed_in % 250 + 1}"
        body = {"email": f"user-{self._random.randint(1, USERS)}@example.com", "password": PASSWORD}
        async with (
            aiohttp.ClientSession(self._url, connector=aiohttp.TCPConnector(local_addr=(address, 0))) as session,
            session.post("/auth/login", json=body) as response,
        ):
            await response.read()
            return time.perf_counter(), response.status
