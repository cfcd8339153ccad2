"""Benchmark of 300 requests of honest clients, without and with each attack.

usage: python -m lunaos.embedded run -- python benchmarks/hostile.py [--points 1,2,9] [--requests 300] [--rate 15]

Each attack (benchmarks/attacks.py) meets a web process and workers that have just started, and runs at the lowest
priority. The aim is an honest p99 of 250 ms at the most, or of three times the quiet p99 of the same run.
"""

import argparse
import asyncio
import json
import os
import random
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import psutil

sys.path.insert(0, str(Path(__file__).parent.parent))
from benchmarks import processes
from benchmarks.attacks import ATTACKS

GOOD_P99_MS, GOOD_RATIO = 250, 3
HONEST, HOSTILE = 10, 3  # accounts
PATIENCE_S = 60
COLUMNS = ("#", "attack", "quiet p50 / p99 ms", "attacked p50 / p99 ms", "ratio of p99", "met", "not answered well")
COLUMNS += ("web, MB", "what the attacker got", "beside it")
VALKEY_ROOM_BYTES = 24 * 2**20  # for point 5: what is left to Valkey, of which event logs may take 16
CODE = "def add(a, b):\n    return a - b\n"
NEEDS = {"3": ("indexing", "celery"), "9": ("celery",), "11": ("chains",)}  # queues that need a worker
TIERS = {"3": "free"}  # of the attacker's accounts; else pro


@dataclass
class Outcome:
    """Result of a phase: milliseconds of each honest request, and the failed ones."""

    times_ms: list[float] = field(default_factory=list)
    bad: Counter[str] = field(default_factory=Counter)

    def percentile(self, number: int) -> float:
        return statistics.quantiles(self.times_ms, n=100, method="inclusive")[number - 1]

    def __str__(self) -> str:
        return f"{self.percentile(50):.0f} / {self.percentile(99):.0f}"


class Honest:
    """Honest clients: half of the requests read the account, half run an agent."""

    def __init__(self, port: int, tokens: list[str], seed: int = 7) -> None:
        self._url, self._tokens, self._random = f"http://127.0.0.1:{port}", tokens, random.Random(seed)

    async def run(self, count: int, rate: float) -> Outcome:
        """Send requests at random moments; time each from when it was due to its end."""
        outcome, started, due = Outcome(), time.perf_counter(), 0.0
        timeout = aiohttp.ClientTimeout(PATIENCE_S)
        async with aiohttp.ClientSession(timeout=timeout, connector=aiohttp.TCPConnector(limit=0)) as session:
            tasks = []
            for number in range(count):
                due += self._random.expovariate(rate)
                await asyncio.sleep(max(0.0, started + due - time.perf_counter()))
                tasks.append(asyncio.ensure_future(self._one(session, number, started + due, outcome)))
            await asyncio.gather(*tasks)
        return outcome

    async def _one(self, session: aiohttp.ClientSession, number: int, due: float, outcome: Outcome) -> None:
        headers = {"Authorization": f"Bearer {self._tokens[number // 2 % len(self._tokens)]}"}
        body = {"agent": "code-review", "context": CODE}
        try:
            if number % 2:
                request = session.post(f"{self._url}/agents/execute", json=body, headers=headers)
            else:
                request = session.get(f"{self._url}/auth/me", headers=headers)
            async with request as response:
                text = await response.read()
            if response.status != 200 or (number % 2 and b'"type":"done"' not in text):
                outcome.bad[f"{response.status} {text[-40:].decode(errors='replace') if number % 2 else ''}"] += 1
        except (aiohttp.ClientError, TimeoutError, OSError) as e:
            outcome.bad[type(e).__name__] += 1
        outcome.times_ms.append((time.perf_counter() - due) * 1000)


@dataclass
class Stage:
    """A fresh web process with accounts and the data that attacks need."""

    point: str
    port: int
    web: psutil.Process
    honest: list[str]
    hostile: list[str]


@contextmanager
def stage(point: str) -> Iterator[Stage]:
    """Start fresh processes with new accounts and an empty Valkey."""
    from lunaos.infra import redis

    redis.client().flushall()
    os.environ.pop("LUNAOS_EVENT_LOG_MB", None)
    if point == "5":
        os.environ["LUNAOS_EVENT_LOG_MB"] = "16"
    with ExitStack() as stack:
        port, child = stack.enter_context(processes.web())
        for queue in NEEDS.get(point, ()):
            stack.enter_context(processes.worker(queue))
        hostile = processes.accounts(HOSTILE, tier=TIERS.get(point, "pro"))
        PREPARE.get(point, lambda _: None)(hostile[0][0])
        if point == "5":
            stack.callback(redis.client().config_set, "maxmemory", "0")
            used = redis.client().info("memory")["used_memory"]
            redis.client().config_set("maxmemory", str(used + VALKEY_ROOM_BYTES))
        honest = [token for _, token in processes.accounts(HONEST, tier="pro")]
        yield Stage(point, port, psutil.Process(child.pid), honest, [token for _, token in hostile])


def _thousand_repositories(user: Any) -> None:
    from rag.models import File, Repository

    made = Repository.objects.bulk_create(
        Repository(user=user, name=f"r{n}", model="bag-of-words") for n in range(1000)
    )
    File.objects.bulk_create(
        (
            File(repository=each, path=f"f.{n}", digest="", language=f"l{n}", chunks=1)
            for each in made
            for n in range(20)
        ),
        batch_size=5000,
    )


PREPARE: dict[str, Callable[[Any], None]] = {"10": _thousand_repositories}


async def attack(on: Stage, seconds: float) -> dict[str, Any]:
    """Run the attack in a process of its own; return its report."""
    job = {"point": on.point, "port": on.port, "seconds": seconds, "tokens": on.hostile}
    script = str(Path(__file__).with_name("attacks.py"))
    process = await asyncio.create_subprocess_exec(
        sys.executable, script, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    try:
        output, _ = await asyncio.wait_for(process.communicate(json.dumps(job).encode()), seconds + 5 * PATIENCE_S)
    except TimeoutError:
        process.kill()
        return {"answers": {"the attack did not end": 1}, "largest": 0, "longest_s": 0.0}
    return dict(json.loads(output)) if process.returncode == 0 else {"answers": {"the attack failed": 1}}


async def peak_rss(process: psutil.Process, over: "asyncio.Future[Any]") -> int:
    """Return the web process's peak memory, with children, until a future is done."""
    peak = 0
    while not over.done():
        peak = max(peak, rss(process))
        await asyncio.wait([over], timeout=0.2)
    return peak


def rss(process: psutil.Process) -> int:
    return sum(each.memory_info().rss for each in [process, *process.children(recursive=True)])


async def _index(session: aiohttp.ClientSession) -> str:
    await asyncio.sleep(2)
    started = time.perf_counter()
    body = {"repository": "mine", "files": [{"path": "a.py", "content": CODE * 800}]}
    async with session.post("/rag/index", json=body) as response:
        answer = await response.json()
    job = answer.get("data", {}).get("jobId")
    while job and time.perf_counter() - started < 2 * PATIENCE_S:
        async with session.get(f"/rag/jobs/{job}") as response:
            if (await response.json())["data"]["status"] not in ("queued", "running"):
                break
        await asyncio.sleep(0.5)
    return f"another user's 26 kB took {time.perf_counter() - started:.1f} s ({response.status})"


async def _chain(session: aiohttp.ClientSession) -> str:
    await asyncio.sleep(8)
    started = time.perf_counter()
    try:
        async with asyncio.timeout(20):
            async with session.post("/chains/execute", json={"chain": "full-review", "context": CODE}) as response:
                text = await response.read()
    except TimeoutError:
        return "another user's chain had not ended after 20 s"
    end = "ended" if b"chain_done" in text else f"was answered {response.status} and did not end"
    return f"another user's chain {end} after {time.perf_counter() - started:.1f} s"


async def _limits(session: aiohttp.ClientSession) -> str:
    """Return whether anonymous requests are still counted, and the answer of /health."""
    await asyncio.sleep(12)
    statuses = Counter[int]()
    async with aiohttp.ClientSession(session._base_url) as anonymous:
        for _ in range(70):
            async with anonymous.get("/agents/list") as response:
                statuses[response.status] += 1
        async with anonymous.get("/health") as response:
            said = (await response.json()).get("data", {}).get("status")
    return f"of 70 anonymous requests {statuses[429]} were refused; /health {said}"


# Work outside the honest mix that an attack may delay for others.
NEIGHBOURS = {"3": _index, "5": _limits, "11": _chain}


async def neighbour(on: Stage) -> str:
    """Return the result of another user's work of the same kind, if it is measured."""
    if on.point not in NEIGHBOURS:
        return ""
    headers = {"Authorization": f"Bearer {on.honest[-1]}"}
    timeout = aiohttp.ClientTimeout(2 * PATIENCE_S)
    try:
        async with aiohttp.ClientSession(f"http://127.0.0.1:{on.port}", headers=headers, timeout=timeout) as session:
            return await NEIGHBOURS[on.point](session)
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError, KeyError) as e:
        return f"another user got {type(e).__name__}"


async def measure(on: Stage, count: int, rate: float) -> tuple[Outcome, Outcome, int, dict[str, Any], str]:
    """Return both outcomes, the growth in bytes, and the reports of the others."""
    clients = Honest(on.port, on.honest)
    await clients.run(60, rate)  # imports, connections, and what is read once
    quiet = await clients.run(count, rate)
    before = rss(on.web)
    attacker = asyncio.ensure_future(attack(on, count / rate + 2))
    peak, other = asyncio.ensure_future(peak_rss(on.web, attacker)), asyncio.ensure_future(neighbour(on))
    await asyncio.sleep(1.5)
    attacked = await clients.run(count, rate)
    return quiet, attacked, await peak - before, await attacker, await other


def row(point: str, quiet: Outcome, attacked: Outcome, growth: int, report: dict[str, Any], other: str) -> str:
    p99, ratio = attacked.percentile(99), attacked.percentile(99) / quiet.percentile(99)
    met = "yes" if (p99 <= GOOD_P99_MS or ratio <= GOOD_RATIO) and not attacked.bad else "**no**"
    bad = ", ".join(f"{count} x {what}" for what, count in attacked.bad.most_common(3)) or "0"
    answers = ", ".join(f"{count} x {what}" for what, count in sorted(report["answers"].items()))
    largest = f"largest {report.get('largest', 0) / 1000:.0f} kB, longest {report.get('longest_s', 0):.1f} s"
    name = (ATTACKS[point].__doc__ or "").partition(": ")[2].partition("\n")[0].rstrip(".")
    cells = (
        point,
        name,
        quiet,
        attacked,
        f"{ratio:.1f}",
        met,
        bad,
        f"{growth / 2**20:+.0f}",
        f"{answers}; {largest}",
        other,
    )
    return "| " + " | ".join(map(str, cells)) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", default=",".join(ATTACKS))
    parser.add_argument("--requests", type=int, default=300)
    parser.add_argument("--rate", type=float, default=15, help="honest requests a second")
    options = parser.parse_args()
    with processes.provider(), processes.embeddings():
        processes.make_tokens()
        processes.bound_runs_at_once()  # as in production: one account must not take all places of chains
        print("| " + " | ".join(COLUMNS) + " |\n" + "|---" * len(COLUMNS) + "|", flush=True)
        for point in options.points.split(","):
            with stage(point) as on:
                print(row(point, *asyncio.run(measure(on, options.requests, options.rate))), flush=True)


if __name__ == "__main__":
    os.environ.setdefault("LUNAOS_LOG_LEVEL", "INFO")
    main()
