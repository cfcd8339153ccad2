"""How many streams one Daphne process carries, and what it adds to the first chunk.

usage: make bench            (or: python -m lunaos.embedded run -- python benchmarks/streams.py [--held 1000])
"""

import argparse
import asyncio
import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import urlopen

import psutil

sys.path.insert(0, str(Path(__file__).parent.parent))
from benchmarks.client import Connection, Stream

HERE = Path(__file__).parent
USERS = 10  # team users: one may send 6 000 requests a minute
QUICK = b'{"agent":"code-review","context":"def add(a, b): return a - b"}'
SLOW = b'{"agent":"code-review","context":"slowly"}'


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def process(*command: str) -> Iterator[subprocess.Popen[bytes]]:
    """A child that ends with the block."""
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=HERE.parent)
    try:
        yield child
    finally:
        child.terminate()
        child.wait(20)


def wait_until_up(port: int) -> None:
    for _ in range(200):
        try:
            urlopen(f"http://127.0.0.1:{port}/health", timeout=2).read()
            return
        except OSError:
            time.sleep(0.1)
    raise SystemExit("Daphne did not come up")


def make_tokens() -> list[str]:
    """Team users and their tokens, straight into the database."""
    import django

    django.setup()
    from django.core.management import call_command

    call_command("prepare", verbosity=0)
    from accounts import tokens
    from accounts.models import User

    return [
        tokens.issue(User.objects.create_user(f"bench-{os.getpid()}-{n}@example.com", "no sign-in", tier="team"))
        for n in range(USERS)
    ]


async def load(
    port: int, tokens: list[str], clients: int, seconds: float, rate: float = 0
) -> tuple[list[Stream], float]:
    """Streams one after the other on each of `clients` connections.

    Args:
        rate: streams a second in all, evenly spread; 0 for as many as there can be.

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
                streams.append(await connection.post("/agents/execute", tokens[n % len(tokens)], QUICK))

    await asyncio.gather(*(one(n) for n in range(clients)))
    return streams, time.perf_counter() - started


async def direct(port: int, count: int = 200) -> float:
    """Median seconds to the first chunk without LunaOS in between."""
    async with Connection(port) as connection:
        times = [(await connection.post("/v1/chat/completions", "x", b"{}", b"delta")).first_s for _ in range(count)]
    return statistics.median(times)


async def hold(port: int, tokens: list[str], count: int, server: psutil.Process) -> None:
    """Hold `count` streams open at one chunk a second."""

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
    upstream_port, port = free_port(), free_port()
    os.environ |= {
        "DJANGO_SETTINGS_MODULE": "lunaos.settings",
        "DEEPSEEK_BASE_URL": f"http://127.0.0.1:{upstream_port}/v1",
        "DEEPSEEK_API_KEY": "benchmark",
    }
    tokens = make_tokens()
    daphne = (sys.executable, "-m", "daphne", "-p", str(port), "-v", "0", "--no-server-name", "lunaos.asgi:application")
    with process(sys.executable, str(HERE / "upstream.py"), str(upstream_port)), process(*daphne) as server:
        wait_until_up(port)
        asyncio.run(load(port, tokens, 8, 2))
        base = asyncio.run(direct(upstream_port))
        print("| clients | streams/s | first chunk, median ms | p95 ms | added, median ms | errors |")
        print("|---|---|---|---|---|---|")
        for clients, rate in ((1, 0), (8, 0), (8, 30), (8, 60), (32, 0), (64, 0)):
            streams, took = asyncio.run(load(port, tokens, clients, options.seconds, rate))
            first_ms = sorted(stream.first_s * 1000 for stream in streams)
            median, p95 = statistics.median(first_ms), first_ms[int(len(first_ms) * 0.95)]
            broken = sum(not stream.complete for stream in streams)
            added = median - base * 1000
            who = f"{clients} at {rate}/s" if rate else f"{clients}"
            print(f"| {who} | {len(streams) / took:.0f} | {median:.1f} | {p95:.1f} | {added:.1f} | {broken} |")
        if options.held:
            asyncio.run(hold(port, tokens, options.held, psutil.Process(server.pid)))


if __name__ == "__main__":
    main()
