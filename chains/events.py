"""The events of a chain, as the contract defines them, with additions."""

from collections.abc import Iterator
from dataclasses import asdict
from itertools import takewhile

import orjson

from agents.providers.prices import Cost
from agents.runner import chunk_events, notice_fields
from chains.context import Truncation
from lunaos.event_lines import type_of
from runs.eventlog.recorder import RunEvent
from runs.metering.tokens import TokenUsage
from runs.models import Run, RunStep
from runs.texts import strip_nul

OPENING_TYPES = ("chain_start", "rag")


def chain_start(run: Run, **more: int) -> RunEvent:
    """Return `chain_start`, with `fromStep` if a failed chain is resumed."""
    start = {"type": "chain_start", "steps": len(run.steps), "runId": str(run.pk), **more}
    return start | notice_fields(run.provider, run.model)


def opening_events(run: Run, grounded: list[RunEvent]) -> list[RunEvent]:
    """Return the events before the first step."""
    return [chain_start(run), *grounded]


def step_start(run: Run, position: int, truncations: list[Truncation], lines: list[bytes]) -> RunEvent:
    """Return `step_start`."""
    # An earlier start of the step in `lines` means that the step is restarted.
    starts = (orjson.loads(line) for line in lines if type_of(line) == "step_start")
    restarted = any(event["step"] == position for event in starts)
    return {
        "type": "step_start",
        "step": position,
        "agent": run.steps[position - 1],
        **({"restarted": True} if restarted else {}),
        **({"shortened": [asdict(truncation) for truncation in truncations]} if truncations else {}),
    }


def step_done(step: RunStep) -> RunEvent:
    """Return `step_done`, with the provider that answered."""
    return {
        "type": "step_done",
        "step": step.position,
        "agent": step.agent,
        "duration": f"{step.duration_ms / 1000:.1f}s",
        "durationMs": step.duration_ms,
        "model": step.model,
        "provider": step.provider,
    }


def chain_done(steps: list[RunStep]) -> RunEvent:
    """Return `chain_done`, with the sums of all steps."""
    tokens = sum((TokenUsage.from_row(step) for step in steps), TokenUsage())
    cost = sum((Cost(step.cost_usd, step.cost_known) for step in steps), Cost())
    duration_ms = sum(step.duration_ms for step in steps)
    return {
        "type": "chain_done",
        "totalDuration": f"{duration_ms / 1000:.1f}s",
        "totalDurationMs": duration_ms,
        "totalTokens": tokens.input + tokens.output,
        "tokens": tokens.as_json(),
        **cost.as_json(),
    }


def missing_events(run: Run, succeeded: list[RunStep], lines: list[bytes], stored: str = "") -> Iterator[RunEvent]:
    """Yield the events that the database implies and the log lacks."""
    # A worker may have died between the two writes, or Valkey may have lost its data.
    if not lines:
        yield from _parse_opening(stored) or [chain_start(run)]
    texts, done = _read_steps(lines)
    for step in succeeded:
        if step.position not in texts:
            yield {"type": "step_start", "step": step.position, "agent": step.agent}
        rest = step.output[len(strip_nul(texts.get(step.position, ""))) :]
        yield from chunk_events([rest] if rest else [])
        if step.position not in done:
            yield step_done(step)


def _parse_opening(stored: str) -> list[RunEvent]:
    return list(
        takewhile(lambda event: event["type"] in OPENING_TYPES, map(orjson.loads, stored.encode().splitlines()))
    )


def _read_steps(lines: list[bytes]) -> tuple[dict[int, str], set[int]]:
    # Return each step's text since its last start, and the finished steps.
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
