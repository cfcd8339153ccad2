"""Benchmark of streams beside another gateway: LiteLLM's proxy, from PyPI, in a virtual environment of its own.

usage: python -m lunaos.embedded run -- python benchmarks/peers.py [--clients 8 32] [--rounds 5] [--seconds 10]

Needs `wrk` (Debian: apt-get install wrk). Both sides ask the same provider for 50 chunks, in alternation.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.request import Request, urlopen

import psutil

sys.path.insert(0, str(Path(__file__).parent.parent))
from benchmarks import processes
from benchmarks.streams import QUICK
from lunaos.embedded.servers import free_port

PEER = "litellm[proxy]==1.108.0"
FOLDER = Path.home() / ".cache" / "lunaos-benchmark-peer"
MASTER_KEY = "sk-benchmark"
ASKED = b'{"model":"peer","stream":true,"messages":[{"role":"user","content":"def add(a, b): return a - b"}]}'
CONFIG = """
model_list:
  - model_name: peer
    litellm_params: {{model: openai/peer, api_base: "http://127.0.0.1:{port}/v1", api_key: benchmark}}
litellm_settings: {{telemetry: false}}
"""
# Each connection takes the credentials in turn, so that no user's rate limit is reached.
SCRIPT = """
local credentials, turn, requests = {%s}, 0, {}
function init()
  for n, credential in ipairs(credentials) do
    local headers = {["Content-Type"] = "application/json", ["Authorization"] = "Bearer " .. credential}
    requests[n] = wrk.format("POST", "%s", headers, [[%s]])
  end
end
function request()
  turn = turn %% #requests + 1
  return requests[turn]
end
function done(summary, latency)
  local errors = summary.errors.status + summary.errors.connect + summary.errors.read + summary.errors.timeout
  print(string.format("FIGURES %%d %%d %%d", summary.requests, summary.duration, errors))
end
"""


@dataclass(frozen=True, slots=True)
class Side:
    """One server under load.

    Args:
        process: the root of its processes; None for the provider, whose processor time is not of interest.
    """

    name: str
    port: int
    path: str
    body: bytes
    credentials: list[str]
    process: psutil.Process | None


@dataclass(frozen=True, slots=True)
class Figures:
    streams_per_s: float
    cpu_ms: float
    errors: int


@contextmanager
def peer(upstream_port: int) -> Iterator[tuple[int, psutil.Process]]:
    """Install LiteLLM apart, start its proxy without a database; yield its port and process."""
    program = FOLDER / "bin" / "litellm"
    if not program.exists():
        subprocess.run([sys.executable, "-m", "venv", str(FOLDER)], check=True)
        subprocess.run([str(FOLDER / "bin" / "pip"), "install", "-q", PEER], check=True)
    port = free_port()
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as config:
        config.write(CONFIG.format(port=upstream_port))
        config.flush()
        # Nothing of this process's environment: the proxy would take up DATABASE_URL and REDIS_URL.
        clean = ("env", "-i", f"PATH={os.environ['PATH']}", f"LITELLM_MASTER_KEY={MASTER_KEY}")
        command = (*clean, str(program), "--config", config.name, "--host", "127.0.0.1", "--port", str(port))
        with processes.process(*command) as child:
            _wait_for(f"http://127.0.0.1:{port}/health/liveliness")
            yield port, psutil.Process(child.pid)


def _wait_for(url: str, within_s: float = 120) -> None:
    end = time.monotonic() + within_s
    while time.monotonic() < end:
        try:
            urlopen(url, timeout=2).read()
        except OSError:
            time.sleep(0.2)
        else:
            return
    raise SystemExit(f"{url} did not answer within {within_s:.0f} s")


def cpu_s(root: psutil.Process | None) -> float:
    """Return the processor time of a process and all below it."""
    tree = [root, *root.children(recursive=True)] if root else []
    return sum(sum(each.cpu_times()[:2]) for each in tree)


def measure(side: Side, clients: int, seconds: float) -> Figures:
    """Load one side with wrk."""
    quoted = ", ".join(f'"{credential}"' for credential in side.credentials)
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(SCRIPT % (quoted, side.path, side.body.decode()))
        script.flush()
        before_s = cpu_s(side.process)
        command = ("wrk", "-t1", f"-c{clients}", f"-d{seconds}s", "--timeout", "30s", "-s", script.name)
        said = subprocess.run(
            [*command, f"http://127.0.0.1:{side.port}"], check=True, capture_output=True, text=True
        ).stdout
        used_s = cpu_s(side.process) - before_s
    requests, duration_us, errors = map(int, said.partition("FIGURES ")[2].split())
    return Figures(requests * 1e6 / duration_us, used_s * 1000 / max(requests, 1), errors)


def check(side: Side) -> None:
    """Raise SystemExit unless the side answers with a whole stream."""
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {side.credentials[0]}"}
    url = f"http://127.0.0.1:{side.port}{side.path}"
    with urlopen(Request(url, side.body, headers), timeout=30) as response:
        answer = response.read()
    if b"chunk 49" not in answer:
        raise SystemExit(f"{side.name} sent no whole stream: {answer[-200:]!r}")


def api_keys() -> list[str]:
    """Make an API key for each of the benchmark's users."""
    from accounts.models import User
    from apikeys import services

    users = User.objects.filter(email__startswith=f"bench-{os.getpid()}-")
    return [services.create(user=user, name="benchmark").secret for user in users]


def compare(sides: list[Side], clients: int, rounds: int, seconds: float) -> None:
    """Measure all sides in turn and print the medians."""
    figures: dict[str, list[Figures]] = {side.name: [] for side in sides}
    for _ in range(rounds):
        for side in sides:
            figures[side.name].append(measure(side, clients, seconds))
    medians = {name: statistics.median(each.streams_per_s for each in rows) for name, rows in figures.items()}
    last = sides[-1].name
    print(f"\n| {clients} clients | streams/s, median | from, to | x {last} | CPU ms a stream | errors |")
    print("|---|---|---|---|---|---|")
    for name, rows in figures.items():
        rates = sorted(each.streams_per_s for each in rows)
        cpu_ms = statistics.median(each.cpu_ms for each in rows)
        print(
            f"| {name} | {medians[name]:.1f} | {rates[0]:.1f} to {rates[-1]:.1f} | {medians[name] / medians[last]:.2f} "
            f"| {cpu_ms:.2f} | {sum(each.errors for each in rows)} |",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, nargs="+", default=[8, 32])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--alone", action="store_true", help="without the peer")
    options = parser.parse_args()
    with processes.provider() as upstream_port:
        tokens = processes.make_tokens()
        keys = api_keys()
        with processes.web() as (port, child):
            web = psutil.Process(child.pid)
            sides = [
                Side("provider, direct", upstream_port, "/v1/chat/completions", ASKED, ["x"], None),
                Side("LunaOS, token", port, "/agents/execute", QUICK, tokens, web),
                Side("LunaOS, key", port, "/agents/execute", QUICK, keys, web),
            ]
            if options.alone:
                run(sides, options)
                return
            with peer(upstream_port) as (peer_port, process):
                run([*sides, Side("LiteLLM", peer_port, "/v1/chat/completions", ASKED, [MASTER_KEY], process)], options)


def run(sides: list[Side], options: argparse.Namespace) -> None:
    for side in sides:
        check(side)
        measure(side, 8, 2)  # warms it up
    for clients in options.clients:
        compare(sides, clients, options.rounds, options.seconds)


if __name__ == "__main__":
    main()
