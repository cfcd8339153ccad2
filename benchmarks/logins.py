"""Benchmark of parallel sign-ins, and of other requests beside them.

usage: python -m lunaos.embedded run -- python benchmarks/logins.py [--seconds 10] [--clients 8]
"""

import argparse
import asyncio
import itertools
import json
import os
import sys
import time
from contextlib import suppress
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))
from benchmarks import processes

PASSWORD = "correct horse 42 battery"
PROBE_EACH_S = 0.05
# Sign-ins are limited by address; the loopback has sixteen million addresses.
addresses = (f"127.{n >> 16 & 255}.{n >> 8 & 255}.{n & 255}" for n in itertools.count(0x010101))


async def send(port: int, method: str, path: str, body: bytes = b"") -> tuple[float, int]:
    """Send a request over a new connection; return seconds to the end, and status."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(next(addresses), 0))
    head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nConnection: close\r\n"
    started = time.perf_counter()
    writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
    answer = await reader.read(-1)
    took_s = time.perf_counter() - started
    writer.close()
    return took_s, int(answer.split(b" ", 2)[1])


async def log_in(port: int, email: str, until: float, password: str) -> list[tuple[float, int]]:
    body, done = json.dumps({"email": email, "password": password}).encode(), []
    while time.perf_counter() < until:
        done.append(await send(port, "POST", "/auth/login", body))
    return done


async def probe(port: int, until: float) -> list[tuple[float, int]]:
    done = []
    while time.perf_counter() < until:
        done.append(await send(port, "GET", "/health"))
        await asyncio.sleep(PROBE_EACH_S)
    return done


async def load(port: int, emails: list[str], clients: int, seconds: float) -> None:
    """Print how long sign-ins and health checks took beside each other."""
    until = time.perf_counter() + seconds
    sign_ins = [log_in(port, emails[n], until, PASSWORD) for n in range(clients)]
    health, *logins = await asyncio.gather(probe(port, until), *sign_ins)
    everything = list(itertools.chain.from_iterable(logins))
    row(f"{clients} sign-ins side by side", everything, seconds)
    row("/health meanwhile", health, seconds)


def row(name: str, requests: list[tuple[float, int]], seconds: float) -> None:
    if requests:
        times_ms = sorted(took_s * 1000 for took_s, _ in requests)
        median, p95 = times_ms[len(times_ms) // 2], times_ms[int(len(times_ms) * 0.95)]
        wrong = sum(status not in (200, 503) for _, status in requests)
        print(f"| {name} | {len(requests) / seconds:.0f} | {median:.1f} | {p95:.1f} | {times_ms[-1]:.1f} | {wrong} |")


def make_people(count: int) -> list[str]:
    processes.make_tokens()
    from accounts.models import User

    emails = [f"sign-in-{os.getpid()}-{n}@example.com" for n in range(count)]
    for email in emails:
        User.objects.create_user(email, PASSWORD)
    return emails


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--clients", type=int, default=8)
    options = parser.parse_args()
    with processes.provider():
        emails = make_people(options.clients)
        with processes.web() as (port, _):
            with suppress(OSError):
                asyncio.run(load(port, emails, options.clients, 1))
            print("| | a second | median ms | p95 ms | longest ms | errors |")
            print("|---|---|---|---|---|---|")
            for clients in (0, 1, options.clients):
                asyncio.run(load(port, emails, clients, options.seconds))


if __name__ == "__main__":
    main()
