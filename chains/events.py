"""The events of a chain, as the contract has them and a little more."""

from collections.abc import Iterator
from dataclasses import asdict
from itertools import takewhile

import orjson

from agents.providers.prices import Cost
from agents.runner import chunks
from chains.context import Truncation
from runs.eventlog.recorder import RunEvent
from runs.metering.tokens import TokenUsage
from runs.models import Run, RunStep
from runs.texts import strip_nul

OPENING_TYPES = ("chain_start", "rag")


def chain_start(run: Run, **more: int) -> RunEvent:
    """`chain_start`; with `fromStep` where a failed chain is taken up again."""
    return {"type": "chain_start", "steps": len(run.steps), "runId": str(run.pk), **more}


def opening_events(run: Run, grounded: list[RunEvent]) -> list[RunEvent]:
    """What a chain's stream says before its first step.

    Args:
        grounded: the `rag` event, where the request wants passages.
    """
    return [chain_start(run), *grounded]


def step_start(run: Run, position: int, truncations: list[Truncation], lines: list[bytes]) -> RunEvent:
    """`step_start`.

    Args:
        truncations: what had to be left out of the steps before.
        lines: the chain's events so far, which show whether the step begins anew.
    """
    mark = b'{"type":"step_start","step":%d,' % position
    restarted = any(line.startswith(mark) for line in lines)
    return {
        "type": "step_start",
        "step": position,
        "agent": run.steps[position - 1],
        **({"restarted": True} if restarted else {}),
        **({"shortened": [asdict(truncation) for truncation in truncations]} if truncations else {}),
    }


def step_done(step: RunStep) -> RunEvent:
    """`step_done`, with who answered."""
    return {
        "type": "step_done",
        "step": step.position,
        "agent": step.agent,
        "duration": f"{step.duration_ms / 1000:.1f}s",
        "model": step.model,
        "provider": step.provider,
    }


def chain_done(steps: list[RunStep]) -> RunEvent:
    """`chain_done`, with the totals of all steps."""
    tokens = sum((TokenUsage.from_row(step) for step in steps), TokenUsage())
    cost = sum((Cost(step.cost_usd, step.cost_known) for step in steps), Cost())
    return {
        "type": "chain_done",
        "totalDuration": f"{sum(step.duration_ms for step in steps) / 1000:.1f}s",
        "totalTokens": tokens.input + tokens.output,
        "tokens": tokens.as_json(),
        **cost.as_json(),
    }


def missing_events(run: Run, succeeded: list[RunStep], lines: list[bytes], stored: str = "") -> Iterator[RunEvent]:
    """What was written down and is missing in the log: a worker died between the two, or Valkey has lost its data.

    Args:
        succeeded: steps that need not be done again, in order.
        lines: the chain's events so far.
        stored: its events as they are stored: the opening, and of a resumed chain what came before.
    """
    if not lines:
        yield from _parse_opening(stored) or [chain_start(run)]
    texts, done = _read_steps(lines)
    for step in succeeded:
        if step.position not in texts:
            yield {"type": "step_start", "step": step.position, "agent": step.agent}
        rest = step.output[len(strip_nul(texts.get(step.position, ""))) :]
        yield from chunks([rest] if rest else [])
        if step.position not in done:
            yield step_done(step)


def _parse_opening(stored: str) -> list[RunEvent]:
    return list(
        takewhile(lambda event: event["type"] in OPENING_TYPES, map(orjson.loads, stored.encode().splitlines()))
    )


def _read_steps(lines: list[bytes]) -> tuple[dict[int, str], set[int]]:
    """The text of each step since it last began, and the steps that are lines to be done."""
    texts: dict[int, str] = {}
    done, position = set(), 0
    for event in map(orjson.loads, lines):
        if event["type"] == "step_start":
            position = event["step"]
            texts[position] = ""
        elif event["type"] == "chunk":
            texts[position] += event["content"]
        elif event["type"] == "step_done":
            done.add(event["step"])
    return texts, done
