"""Soak test: half an hour of the mix, with idle streams and slow readers.

Each ten seconds memory, file handles and connections are read; the slope is that of the least squares after a warm-up.

usage: python -m lunaos.embedded run -- python benchmarks/soak.py [--minutes 30] [--rate 10] [--idle 1000] [--slow 20]
"""

import argparse
import asyncio
import json
import socket
import statistics
import sys
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import aiohttp
import psutil

sys.path.insert(0, str(Path(__file__).parent.parent))
from benchmarks.cluster import NODES, WORKERS, cluster, family
from benchmarks.load import GOOD, percentiles
from benchmarks.mix import Mix
from testing.stack import Stack

EVERY_S, WARM_UP_SHARE = 10.0, 0.25
WATCHED = (*NODES, *WORKERS, "postgres", "valkey", "proxy")
IDLE = {"agent": "code-review", "context": "idly"}
LONG = json.dumps({"agent": "code-review", "context": "at length"})
LEAST_BUFFER = 4096  # bytes of a socket
Sample = dict[str, float]


def sample(stack: Stack) -> Sample:
    """Return MB and file handles of each program, and the database connections."""
    found: Sample = {}
    for name in WATCHED:
        own, *children = family(stack, name)
        found[f"{name} MB"] = own.memory_info().rss / 2**20
        found[f"{name} files"] = own.num_fds()
        if name == "postgres":
            found["connections"] = len(children)
    return found


async def idle(mix: Mix, stopped: asyncio.Event) -> int:
    """Read streams with a chunk every 15 s; return how many broke."""
    broken = 0
    while not stopped.is_set():
        try:
            async with mix.session.post("/agents/execute", json=IDLE, headers=mix.user(), timeout=None) as response:
                reading = asyncio.ensure_future(response.content.read())
                ending = asyncio.ensure_future(stopped.wait())
                await asyncio.wait({reading, ending}, return_when="FIRST_COMPLETED")
                broken += reading.done() and b'"type":"done"' not in reading.result()
                reading.cancel() or ending.cancel()
        except aiohttp.ClientError:
            broken += 1
    return broken


async def slow(stack: Stack, mix: Mix, stopped: asyncio.Event) -> None:
    """Read a stream of 10 000 chunks so slowly that the web process holds most of it."""
    # A connection of its own, past the proxy, which would hold the stream instead.
    with socket.socket() as own:
        own.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, LEAST_BUFFER)
        own.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(own, ("127.0.0.1", stack.ports["web"]))
        fields = {"Host": "127.0.0.1", "Content-Type": "application/json", "Content-Length": len(LONG), **mix.user()}
        head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        await loop.sock_sendall(own, f"POST /agents/execute HTTP/1.1\r\n{head}\r\n{LONG}".encode())
        while not stopped.is_set() and await loop.sock_recv(own, 64):  # noqa: ASYNC110 - it is a slow one
            await asyncio.sleep(0.5)


async def watch(stack: Stack, samples: list[Sample], stopped: asyncio.Event) -> None:
    while not stopped.is_set():
        samples.append(await asyncio.to_thread(sample, stack) | {"at": time.monotonic()})
        with suppress(TimeoutError):
            await asyncio.wait_for(stopped.wait(), EVERY_S)


async def go(stack: Stack, options: argparse.Namespace) -> None:
    stopped, samples = asyncio.Event(), list[Sample]()
    async with Mix(stack, str(stack.api_of("proxy").base_url)) as mix:
        waiting = []
        for _ in range(options.idle):
            waiting.append(asyncio.create_task(idle(mix, stopped)))
            await asyncio.sleep(0.02)  # fifty a second
        slows = [asyncio.create_task(slow(stack, mix, stopped)) for _ in range(options.slow)]
        watching = asyncio.create_task(watch(stack, samples, stopped))
        outcomes = await mix.run(options.rate, options.minutes * 60)
        cut_off = sum(task.done() for task in slows)
        stopped.set()
        await asyncio.gather(watching, *slows)
        broken = sum(await asyncio.gather(*waiting))
    bad = Counter(outcome.status for outcome in outcomes if outcome.status not in GOOD)
    median, p95, p99 = percentiles(outcomes)
    print(f"{len(outcomes)} requests, not answered well: {dict(bad) or 0}")
    print(f"median {median:.0f}, p95 {p95:.0f}, p99 {p99:.0f} ms")
    print(f"{options.idle} idle streams, of which broke: {broken}; {options.slow} slow readers, cut off: {cut_off}\n")
    report(samples)


def report(samples: list[Sample]) -> None:
    """Print first, highest and last value of each series, and its growth."""
    print("| | after the warm-up | highest | last | an hour |\n|---|---|---|---|---|")
    settled = samples[int(len(samples) * WARM_UP_SHARE) :]
    hours = [each["at"] / 3600 for each in settled]
    for name in sorted(settled[0].keys() - {"at"}):
        values = [each[name] for each in settled]
        slope = statistics.linear_regression(hours, values).slope
        print(f"| {name} | {values[0]:.0f} | {max(values):.0f} | {values[-1]:.0f} | {slope:+.1f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--rate", type=float, default=10, help="requests a second of the mix")
    parser.add_argument("--idle", type=int, default=1000)
    parser.add_argument("--slow", type=int, default=20)
    options = parser.parse_args()
    print(f"{psutil.cpu_count()} cores; {options.minutes:g} minutes at {options.rate:g} a second\n")
    with cluster() as stack:
        asyncio.run(go(stack, options))


if __name__ == "__main__":
    main()
