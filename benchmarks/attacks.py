"""Attacks of hostile clients on the loopback: one per process, at low priority.

`benchmarks/hostile.py` starts `python benchmarks/attacks.py` with a job on its standard input, and reads the answers
that the attacker got from its standard output.
"""

import asyncio
import json
import os
import socket
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Any

import aiohttp
from yarl import URL

ADDRESS = "127.0.9.1"  # honest clients have another, so that the limits of an address do not mix
GIVE_UP_AFTER_S = 60
MB = 10**6
TCP_ESTABLISHED = 1
HUGE = "in full"  # the scripted provider answers it with 10 000 chunks, 6 MB in all
SLOW = "slowly"  # and this with a chunk a second


class Attacker:
    """Client that sends requests from one address and counts the answers.

    Args:
        job: `port`, `seconds`, `tokens` of the attacker's accounts, and what the attack needs besides.
    """

    def __init__(self, job: dict[str, Any]) -> None:
        self.job, self.answers, self.largest, self.longest_s = job, Counter[str](), 0, 0.0
        self._until = time.monotonic() + job["seconds"]

    @property
    def in_time(self) -> bool:
        return self.seconds_left > 0

    @property
    def seconds_left(self) -> float:
        return self._until - time.monotonic()

    async def ask(self, method: str, path: str, token: str = "", **arguments: Any) -> bytes:
        """Send a request, read the whole answer, and count it by status and code."""
        started, body = time.monotonic(), b""
        headers = {"Content-Type": "application/json"} if "data" in arguments else {}
        headers |= {"Authorization": f"Bearer {token}"} if token else {}
        try:
            connector = aiohttp.TCPConnector(local_addr=(ADDRESS, 0))
            timeout = aiohttp.ClientTimeout(GIVE_UP_AFTER_S)
            async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
                url = URL(f"http://127.0.0.1:{self.job['port']}{path}", encoded=True)
                async with session.request(method, url, headers=headers, **arguments) as response:
                    body = await response.read()
                    self.answers[f"{response.status} {code(body)}".strip()] += 1
        except (aiohttp.ClientError, OSError, ValueError) as e:
            self.answers[type(e).__name__] += 1
        self.largest = max(self.largest, len(body))
        self.longest_s = max(self.longest_s, time.monotonic() - started)
        return body

    async def at_rate(self, per_second: float, most: int, one: Callable[[int], Awaitable[object]]) -> None:
        """Start requests at an even rate until the time is over; await no answers."""
        tasks = []
        for number in range(most):
            if not self.in_time:
                break
            tasks.append(asyncio.ensure_future(one(number)))
            await asyncio.sleep(1 / per_second)
        await asyncio.gather(*tasks)

    async def connect(self, head: str, *, receive_bytes: int = 0) -> asyncio.StreamWriter:
        """Open a connection and send the beginning of a request on it."""
        plain = socket.socket()
        # Small for a client that will not read.
        if receive_bytes:
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        plain.setblocking(False)
        plain.bind((ADDRESS, 0))
        await asyncio.get_running_loop().sock_connect(plain, ("127.0.0.1", self.job["port"]))
        _, writer = await asyncio.open_connection(sock=plain, limit=1024)
        writer.write(f"{head}\r\nHost: localhost\r\n".encode())
        return writer

    def report(self) -> dict[str, Any]:
        return {"answers": dict(self.answers), "largest": self.largest, "longest_s": self.longest_s}


def is_gone(writer: asyncio.StreamWriter) -> bool:
    """Return whether the server has closed a connection, without reading it."""
    if writer.transport.is_closing():
        return True
    info: bytes = writer.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)
    # The state in tcp_info (tcp(7)).
    return info[0] != TCP_ESTABLISHED


def code(body: bytes) -> str:
    try:
        return str(json.loads(body[: 100 * MB])["code"])
    except (ValueError, KeyError, TypeError):
        return ""


async def long_paths(attacker: Attacker) -> None:
    """Point 1: anonymous paths of 15 000 characters."""
    # The log's redaction took quadratic time over them.
    await attacker.at_rate(1.4, 40, lambda number: attacker.ask("GET", f"/{number}{'secret' * 2_500}"))


async def bad_lists(attacker: Attacker) -> None:
    """Point 2: bodies of 1 MB with lists of invalid items, one after the other."""
    zeros = ", ".join(["0"] * 330_000)
    for path, member in 3 * (("/rag/index", "files"), ("/api-keys", "scopes"), ("/chains/execute", "steps")):
        if attacker.in_time:
            body = f'{{"{member}": [{zeros}], "name": "x", "context": "x"}}'
            await attacker.ask("POST", path, attacker.job["tokens"][0], data=body)


async def much_code(attacker: Attacker) -> None:
    """Point 3: a free account has 32 MB indexed, in four requests."""
    line = "def name_{0}(first, second):\n    return first * {0} + second\n\n\n"
    for number in range(4):
        start = number * 200_000
        text = "".join(line.format(start + n) for n in range(8_000))[:490_000]
        files = [{"path": f"f{number}-{n}.py", "content": f"# {n}\n{text}"} for n in range(16)]
        body = {"repository": f"r{number}", "files": files}
        await attacker.ask("POST", "/rag/index", attacker.job["tokens"][0], json=body)


async def long_logs(attacker: Attacker) -> None:
    """Point 5: answers of 6 MB, with little room left in Valkey."""

    async def one(number: int) -> None:
        token = attacker.job["tokens"][number % len(attacker.job["tokens"])]
        await attacker.ask("POST", "/agents/execute", token, json={"agent": "code-review", "context": HUGE})

    await attacker.at_rate(0.5, 10, one)


async def unread(attacker: Attacker) -> None:
    """Point 6: 40 clients request a long run's events and do not read them."""
    token = attacker.job["tokens"][0]
    body = await attacker.ask("POST", "/agents/execute", token, json={"agent": "code-review", "context": HUGE})
    start = body.partition(b'"runId":"')[2][:36].decode()
    head = f"GET /runs/{start}/events HTTP/1.1\r\nAuthorization: Bearer {token}\r\nLast-Event-ID: 1\r\n"
    writers = []
    for _ in range(40):
        with suppress(OSError):
            writers.append(await attacker.connect(head.rstrip("\r\n"), receive_bytes=4096))
            writers[-1].write(b"\r\n")
    await asyncio.sleep(max(0.0, attacker.seconds_left))
    dropped = sum(is_gone(writer) for writer in writers)
    attacker.answers["held to the end"] += len(writers) - dropped
    attacker.answers["dropped"] += dropped
    for writer in writers:
        writer.transport.abort()


async def health(attacker: Attacker) -> None:
    """Point 9: 71 /health a second, beside a patient probe of /ready."""

    async def probe() -> None:
        while attacker.in_time:
            ready = Attacker(attacker.job)
            with suppress(TimeoutError):
                await asyncio.wait_for(ready.ask("GET", "/ready"), 2)
            attacker.answers["/ready well" if ready.answers["200"] else "/ready failed"] += 1
            await asyncio.sleep(1)

    async with asyncio.TaskGroup() as group:
        group.create_task(probe())
        group.create_task(attacker.at_rate(71, 71 * 30, lambda _: attacker.ask("GET", "/health")))


async def repositories(attacker: Attacker) -> None:
    """Point 10: the list of an account that has 1 000 repositories."""
    await attacker.at_rate(2, 60, lambda _: attacker.ask("GET", "/rag/repositories", attacker.job["tokens"][0]))


async def chains(attacker: Attacker) -> None:
    """Point 11: one account begins 70 chains of many minutes, and stays for none."""

    async def one(_: int) -> None:
        body = {"chain": "full-review", "context": SLOW}
        started = asyncio.ensure_future(attacker.ask("POST", "/chains/execute", attacker.job["tokens"][0], json=body))
        done, _ = await asyncio.wait([started], timeout=4)
        if not done:
            attacker.answers["a chain is under way"] += 1
            started.cancel()

    await attacker.at_rate(10, 70, one)


async def large_bodies(attacker: Attacker) -> None:
    """Point 12: anonymous bodies of 80 MB, and 20 clients that send a byte a second."""
    block = b"x" * 65_536

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(80 * MB // len(block)):
            yield block

    async def large() -> None:
        for path in 3 * ("/auth/login", "/nowhere", "/rag/index", "/agents/execute", "/", "/billing/webhook"):
            if attacker.in_time:
                await attacker.ask("POST", path, data=chunks())

    async def slow() -> None:
        with suppress(OSError):
            head = "POST /auth/login HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n"
            writer = await attacker.connect(head.rstrip("\r\n"))
            writer.write(b"\r\n")
            while attacker.in_time and not is_gone(writer):
                writer.write(b" ")
                await asyncio.sleep(1)
            attacker.answers["slow: dropped" if is_gone(writer) else "slow: held to the end"] += 1
            writer.transport.abort()

    async with asyncio.TaskGroup() as group:
        group.create_task(large())
        for _ in range(20):
            group.create_task(slow())


ATTACKS: dict[str, Callable[[Attacker], Awaitable[None]]] = {
    "1": long_paths,
    "2": bad_lists,
    "3": much_code,
    "5": long_logs,
    "6": unread,
    "9": health,
    "10": repositories,
    "11": chains,
    "12": large_bodies,
}


async def main() -> None:
    os.nice(19)
    attacker = Attacker(json.loads(sys.stdin.read()))
    await ATTACKS[attacker.job["point"]](attacker)
    sys.stdout.write(json.dumps(attacker.report()))


if __name__ == "__main__":
    asyncio.run(main())
