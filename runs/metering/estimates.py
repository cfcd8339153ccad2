"""Estimate tokens and cost of an answer that was interrupted from outside."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal

import orjson

from lunaos.event_lines import type_of
from runs import texts
from runs.metering.tokens import TokenUsage, estimate
from runs.models import Run, RunStep, Status


@dataclass(frozen=True, slots=True)
class InterruptedAnswer:
    agent: str  # slug of the agent
    # provider and model: the ones that answered
    provider: str
    model: str
    input: str  # text sent to the model, without the agent's prompt
    output: str  # text received


@dataclass(frozen=True, slots=True)
class Estimate:
    tokens: TokenUsage
    cost_usd: Decimal
    cost_known: bool


Estimator = Callable[[InterruptedAnswer], Estimate]


def _estimate_without_prices(interrupted: InterruptedAnswer) -> Estimate:
    used = TokenUsage(input=estimate(interrupted.input), output=estimate(interrupted.output), estimated=True)
    return Estimate(used, Decimal(0), cost_known=False)


_estimator: Estimator = _estimate_without_prices


def register(estimator: Estimator) -> None:
    """Set the estimator; the app above that knows prompts and prices calls this."""
    global _estimator
    _estimator = estimator


def estimate_open_answer(run: Run, lines: Sequence[bytes], steps: Sequence[RunStep]) -> Estimate | None:
    """Return the tokens and cost of a run's open answer, which no sum contains."""
    agent, answer_lines = _find_open_step(run, lines, steps) if run.chain else (run.agent, lines)
    if not answer_lines:
        return None
    text = texts.load_text(run)
    sent = "\n\n".join([text.input if text else "", *(step.output for step in steps)])
    return _estimator(
        InterruptedAnswer(agent, *find_answering_model(run, lines), sent, texts.join_chunks(answer_lines))
    )


def find_answering_model(run: Run, lines: Sequence[bytes]) -> tuple[str, str]:
    """Return the provider and model that answer, by the log, else by the request."""
    start: dict[str, str] = next((orjson.loads(line) for line in lines if type_of(line) == "start"), {})
    return start.get("provider", run.provider), start.get("model", run.model)


def _find_open_step(run: Run, lines: Sequence[bytes], steps: Sequence[RunStep]) -> tuple[str, Sequence[bytes]]:
    """Return the agent and the events of a step that has started and is not stored."""
    starts = [number for number, line in enumerate(lines) if type_of(line) == "step_start"]
    position = orjson.loads(lines[starts[-1]])["step"] if starts else 0
    # An interrupted step is executed again, so its row is of an earlier execution.
    stored = {step.position for step in steps if step.status != Status.INTERRUPTED}
    if not starts or position in stored:
        return "", ()
    return run.steps[position - 1], lines[starts[-1] + 1 :]
