"""Benchmark of streams: how many one process carries, and its added delay.

usage: make bench            (or: python -m lunaos.embedded run -- python benchmarks/streams.py [--held 1000])
"""

import argparse
import asyncio
import statistics
import sys
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import psutil

sys.path.insert(0, str(Path(__file__).parent.parent))
from benchmarks import processes
from benchmarks.client import Connection, Stream

QUICK = b'{"agent":"code-review","context":"def add(a, b): return a - b"}'
STEADY = b'{"agent":"code-review","context":"steadily"}'
SLOW = b'{"agent":"code-review","context":"slowly"}'


async def load(
    port: int, tokens: list[str], clients: int, seconds: float, rate: float = 0, body: bytes = QUICK
) -> tuple[list[Stream], float]:
    """Read streams one after the other on each of `clients` connections.

    Args:
        rate: streams a second in all, evenly spread; 0 for as many as possible.

    Returns:
        The streams, and the seconds they took.
    """
    streams: list[Stream] = []
    started = time.perf_counter()

    async def one(n: int) -> None:
        async with Connection(port) as connection:
            turn = n
            while (now := time.perf_counter() - started) < seconds:
                await asyncio.sleep(max(0, turn / rate - now) if rate else 0)
                turn += clients
                streams.append(await connection.post("/agents/execute", tokens[n % len(tokens)], body))

    await asyncio.gather(*(one(n) for n in range(clients)))
    return streams, time.perf_counter() - started


async def direct(port: int, count: int = 200) -> float:
    """Return the median seconds to the first chunk without LunaOS."""
    async with Connection(port) as connection:
        times = [(await connection.post("/v1/chat/completions", "x", b"{}", b"delta")).first_s for _ in range(count)]
    return statistics.median(times)


async def hold(port: int, tokens: list[str], count: int, server: psutil.Process) -> None:
    async def one(n: int) -> Stream:
        await asyncio.sleep(n / 100)  # a hundred new ones a second
        async with Connection(port) as connection:
            return await connection.post("/agents/execute", tokens[n % len(tokens)], SLOW)

    before_mb, peak_mb = server.memory_info().rss / 2**20, 0.0
    tasks = [asyncio.ensure_future(one(n)) for n in range(count)]
    while not all(task.done() for task in tasks):
        await asyncio.wait(tasks, timeout=1)
        peak_mb = max(peak_mb, server.memory_info().rss / 2**20)
    streams = [task.result() for task in tasks]
    broken = sum(not stream.complete for stream in streams)
    longest = max(stream.total_s for stream in streams)
    print(
        f"| {count} held, 1 chunk/s | errors {broken} | memory {before_mb:.0f} -> {peak_mb:.0f} MB | {longest:.1f} s |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--held", type=int, default=0)
    options = parser.parse_args()
    with processes.provider() as upstream_port:
        tokens = processes.make_tokens()
        with processes.web() as (port, child):
            server = psutil.Process(child.pid)
            asyncio.run(load(port, tokens, 8, 2))
            base_ms = asyncio.run(direct(upstream_port)) * 1000
            print("| clients | streams/s | first chunk, median ms | p95 | added, median | CPU ms a stream | errors |")
            print("|---|---|---|---|---|---|---|")
            for clients, rate in ((1, 0), (8, 0), (8, 30), (8, 60), (32, 0), (64, 0)):
                who = f"{clients} at {rate}/s" if rate else f"{clients}"
                measure(who, server, base_ms, load(port, tokens, clients, options.seconds, rate))
            one_by_one = load(port, tokens, 60, options.seconds, 0, STEADY)
            measure("60, a chunk each 20 ms", server, base_ms, one_by_one)
            if options.held:
                asyncio.run(hold(port, tokens, options.held, server))


def measure(
    who: str, server: psutil.Process, base_ms: float, streams: Coroutine[Any, Any, tuple[list[Stream], float]]
) -> None:
    before_s = sum(server.cpu_times()[:2])
    done, took_s = asyncio.run(streams)
    cpu_ms = (sum(server.cpu_times()[:2]) - before_s) * 1000 / len(done)
    first_ms = sorted(stream.first_s * 1000 for stream in done)
    median, p95 = statistics.median(first_ms), first_ms[int(len(first_ms) * 0.95)]
    broken = sum(not stream.complete for stream in done)
    print(
        f"| {who} | {len(done) / took_s:.0f} | {median:.1f} | {p95:.1f} | {median - base_ms:.1f} "
        f"| {cpu_ms:.1f} | {broken} |"
    )


if __name__ == "__main__":
    main()
