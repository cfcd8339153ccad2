"""Benchmark of a mix of requests at rising rates, on two nodes behind the proxy.

usage: python -m lunaos.embedded run -- python benchmarks/load.py [--rates 5,10,20] [--seconds 20] [--plot FILE.svg]
"""

import argparse
import asyncio
import statistics
import sys
from collections import Counter
from pathlib import Path

import psutil
import pygal

sys.path.insert(0, str(Path(__file__).parent.parent))
from benchmarks.cluster import NODES, WORKERS, cluster, family
from benchmarks.mix import WEIGHTS, Mix, Outcome
from testing.stack import Stack

PARTS = {"web": NODES, "workers": WORKERS, "PostgreSQL": ("postgres",), "Valkey": ("valkey",), "proxy": ("proxy",)}
GOOD = range(200, 300)
Result = tuple[float, list[Outcome], dict[str, float]]


def cpu_seconds(stack: Stack) -> dict[str, float]:
    """Return the CPU time of each part by /proc, without ended children."""
    return {
        part: sum(sum(process.cpu_times()[:2]) for name in names for process in family(stack, name))
        for part, names in PARTS.items()
    }


async def measure(stack: Stack, mix: Mix, rate: float, seconds: float) -> Result:
    """Return the outcomes at one rate, and each part's share of a core."""
    before = cpu_seconds(stack)
    outcomes = await mix.run(rate, seconds)
    after = cpu_seconds(stack)
    return rate, outcomes, {part: (after[part] - before[part]) / seconds for part in PARTS}


def percentiles(outcomes: list[Outcome]) -> tuple[float, float, float]:
    """Return median, p95 and p99 in ms."""
    if len(outcomes) < 2:
        return (outcomes[0].seconds * 1000,) * 3 if outcomes else (0.0,) * 3
    cuts = statistics.quantiles([outcome.seconds * 1000 for outcome in outcomes], n=100, method="inclusive")
    return cuts[49], cuts[94], cuts[98]


def report(results: list[Result]) -> None:
    """Print the tables of docs/performance.md."""
    print("| requests/s | sent | median ms | p95 ms | p99 ms | not answered well | cores: " + ", ".join(PARTS) + " |")
    print("|---|---|---|---|---|---|---|")
    for rate, outcomes, cores in results:
        bad = Counter(outcome.status for outcome in outcomes if outcome.status not in GOOD)
        times = " | ".join(f"{value:.0f}" for value in percentiles(outcomes))
        shares = ", ".join(f"{share:.2f}" for share in cores.values())
        print(f"| {rate:g} | {len(outcomes)} | {times} | {dict(bad) or 0} | {shares} |")
    print("\nmedian / p95 ms\n\n| act | " + " | ".join(f"{rate:g}/s" for rate, _, _ in results) + " |")
    print("|---" * (len(results) + 1) + "|")
    for act in WEIGHTS:
        each = [percentiles([one for one in outcomes if one.act == act]) for _, outcomes, _ in results]
        print(f"| {act} | " + " | ".join(f"{median:.0f} / {p95:.0f}" for median, p95, _ in each) + " |")


def plot(results: list[Result], file: Path) -> None:
    """Draw latency against the rate, one line for each act, as SVG without scripts."""
    chart = pygal.XY(
        js=[],
        logarithmic=True,
        title="A mix of real requests",
        x_title="requests a second, two nodes",
        y_title="p95, ms",
    )
    for act in WEIGHTS:
        times = [percentiles([one for one in outcomes if one.act == act])[1] for _, outcomes, _ in results]
        chart.add(act, [(rate, ms) for (rate, _, _), ms in zip(results, times, strict=True) if ms])
    chart.render_to_file(str(file))


async def go(stack: Stack, rates: list[float], seconds: float) -> list[Result]:
    async with Mix(stack, str(stack.api_of("proxy").base_url)) as mix:
        await mix.run(5, 5)
        return [await measure(stack, mix, rate, seconds) for rate in rates]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rates", default="5,10,20,40,60,80")
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--plot", type=Path)
    options = parser.parse_args()
    print(f"{psutil.cpu_count()} cores; {options.seconds:g} s at each rate\n")
    with cluster() as stack:
        results = asyncio.run(go(stack, [float(rate) for rate in options.rates.split(",")], options.seconds))
    report(results)
    if options.plot:
        plot(results, options.plot)


if __name__ == "__main__":
    main()
