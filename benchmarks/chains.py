"""Benchmark of chains: time to start, resume and cancel; chains in one worker.

usage: make bench            (or: python -m lunaos.embedded run -- python benchmarks/chains.py)
"""

import asyncio
import json
import re
import statistics
import sys
import time
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

sys.path.insert(0, str(Path(__file__).parent.parent))
from benchmarks import processes
from benchmarks.client import Connection, Stream

SAMPLES = 100
TOGETHER = 50
AGENTS = b'[{"agent":"code-review"},{"agent":"testing-validation"},{"agent":"documentation"}]'
QUICK = b'{"steps":%b,"context":"def add(a, b): return a - b"}' % AGENTS
STEADY = b'{"steps":%b,"context":"steadily"}' % AGENTS


async def chain(port: int, token: str, body: bytes) -> Stream:
    async with Connection(port) as connection:
        return await connection.post("/chains/execute", token, body, b"data: ")


async def one_after_the_other(port: int, tokens: list[str]) -> list[Stream]:
    return [await chain(port, tokens[n % len(tokens)], QUICK) for n in range(SAMPLES)]


async def together(port: int, tokens: list[str], count: int) -> tuple[list[Stream], float]:
    """Start chains together; return them with the seconds until the last end."""
    started = time.perf_counter()
    streams = await asyncio.gather(*(chain(port, tokens[n % len(tokens)], STEADY) for n in range(count)))
    return streams, time.perf_counter() - started


async def resumes(port: int, token: str, finished: Stream) -> list[float]:
    """Return the milliseconds to the first event after the fifth of a finished chain."""
    found = re.search(rb'"runId":"([^"]+)"', finished.body)
    assert found
    async with Connection(port) as connection:
        return [(await connection.resume(found[1].decode(), token, 5)).first_s * 1000 for _ in range(SAMPLES)]


async def cancellations(port: int, token: str, count: int = 20) -> list[float]:
    """Return the milliseconds from cancelling a chain until its stream has ended."""
    return [await _cancellation(port, token) for _ in range(count)]


async def _cancellation(port: int, token: str) -> float:
    stream = asyncio.ensure_future(chain(port, token, STEADY))
    running: list[dict[str, str]] = []
    while not running:
        running = (await call(port, token, "GET", "/runs?status=running&limit=1"))["runs"]
    await asyncio.sleep(0.2)  # into its first answer
    started = time.perf_counter()
    await call(port, token, "POST", f"/runs/{running[0]['id']}/cancel")
    await stream
    return (time.perf_counter() - started) * 1000


async def call(port: int, token: str, method: str, path: str) -> Any:
    request = Request(f"http://127.0.0.1:{port}{path}", method=method, headers={"Authorization": f"Bearer {token}"})
    return json.loads(await asyncio.to_thread(lambda: urlopen(request, timeout=10).read()))["data"]


def row(what: str, milliseconds: list[float]) -> None:
    ordered = sorted(milliseconds)
    print(f"| {what} | {statistics.median(ordered):.1f} | {ordered[int(len(ordered) * 0.95)]:.1f} |")


def main() -> None:
    with processes.provider():
        tokens = processes.make_tokens()
        with processes.web() as (port, _), processes.chains_worker():
            asyncio.run(chain(port, tokens[0], QUICK))  # waits for the worker
            print("| | median ms | p95 ms |\n|---|---|---|")
            quick = asyncio.run(one_after_the_other(port, tokens))
            row("a chain's first event", [stream.first_s * 1000 for stream in quick])
            row("a whole chain of three steps", [stream.total_s * 1000 for stream in quick])
            row("a resume's first event", asyncio.run(resumes(port, tokens[0], quick[0])))
            row("cancelling a chain, until its stream has ended", asyncio.run(cancellations(port, tokens[0])))
            _, alone_s = asyncio.run(together(port, tokens, 1))
            streams, took_s = asyncio.run(together(port, tokens, TOGETHER))
            errors = sum(not stream.complete for stream in quick + streams)
            print(f"\n{TOGETHER} chains of 3 steps of 50 chunks, 20 ms apart, at once on one worker: {took_s:.2f} s, ")
            print(f"one alone: {alone_s:.2f} s, ratio {took_s / alone_s:.2f}; errors: {errors}")


if __name__ == "__main__":
    main()
