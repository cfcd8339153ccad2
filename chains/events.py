"""The events of a chain, as the contract has them and a little more."""

from collections.abc import Iterator
from dataclasses import asdict
from itertools import takewhile

import orjson

from agents.providers.prices import Cost
from agents.runner import chunk_events
from chains.context import Cut
from runs.eventlog.recorder import Event
from runs.metering.tokens import TokenUsage
from runs.models import Run, RunStep
from runs.texts import storable

OPENING = ("chain_start", "rag")


def chain_start(run: Run, **more: int) -> Event:
    """`chain_start`; with `fromStep` where a failed chain is taken up again."""
    return {"type": "chain_start", "steps": len(run.steps), "runId": str(run.pk), **more}


def opening(run: Run, grounded: list[Event]) -> list[Event]:
    """What a chain's stream says before its first step.

    Args:
        grounded: the `rag` event, where the request wants passages.
    """
    return [chain_start(run), *grounded]


def step_start(run: Run, position: int, cuts: list[Cut], told: list[bytes]) -> Event:
    """`step_start`.

    Args:
        cuts: what had to be left out of the steps before.
        told: the chain's events so far, which show whether the step begins anew.
    """
    mark = b'{"type":"step_start","step":%d,' % position
    restarted = any(line.startswith(mark) for line in told)
    return {
        "type": "step_start",
        "step": position,
        "agent": run.steps[position - 1],
        **({"restarted": True} if restarted else {}),
        **({"shortened": [asdict(cut) for cut in cuts]} if cuts else {}),
    }


def step_done(step: RunStep) -> Event:
    """`step_done`, with who answered."""
    return {
        "type": "step_done",
        "step": step.position,
        "agent": step.agent,
        "duration": f"{step.duration_ms / 1000:.1f}s",
        "model": step.model,
        "provider": step.provider,
    }


def chain_done(steps: list[RunStep]) -> Event:
    """`chain_done`, with the totals of all steps."""
    tokens = sum((TokenUsage.of(step) for step in steps), TokenUsage())
    cost = sum((Cost(step.cost_usd, step.cost_known) for step in steps), Cost())
    return {
        "type": "chain_done",
        "totalDuration": f"{sum(step.duration_ms for step in steps) / 1000:.1f}s",
        "totalTokens": tokens.input + tokens.output,
        "tokens": tokens.as_json(),
        **cost.as_json(),
    }


def untold(run: Run, succeeded: list[RunStep], told: list[bytes], kept: str = "") -> Iterator[Event]:
    """What was written down and is missing in the log: a worker died between the two, or Valkey has lost its data.

    Args:
        succeeded: steps that need not be done again, in order.
        told: the chain's events so far.
        kept: its events as they are stored: the opening, and of a resumed chain what came before.
    """
    if not told:
        yield from _opening_of(kept) or [chain_start(run)]
    texts, done = _told(told)
    for step in succeeded:
        if step.position not in texts:
            yield {"type": "step_start", "step": step.position, "agent": step.agent}
        rest = step.output[len(storable(texts.get(step.position, ""))) :]
        yield from chunk_events([rest] if rest else [])
        if step.position not in done:
            yield step_done(step)


def _opening_of(kept: str) -> list[Event]:
    return list(takewhile(lambda event: event["type"] in OPENING, map(orjson.loads, kept.encode().splitlines())))


def _told(lines: list[bytes]) -> tuple[dict[int, str], set[int]]:
    """The text of each step since it last began, and the steps that are told to be done."""
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
