"""Execute a chain in a worker, step by step."""

# Each step is saved at its end, so that another worker can go on.

import asyncio
import time
from collections.abc import Callable
from contextlib import aclosing, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypeVar
from uuid import UUID

from django.conf import settings

from agents import catalogue
from agents import services as agent_services
from agents.models import Agent
from agents.providers import Target
from agents.providers.errors import ProviderFailed, ProviderTimeout
from agents.providers.prices import Cost
from agents.runner import Completion, failure_of, opening_fields
from chains import context, events, queue
from lunaos.errors import LunaError
from lunaos.event_lines import type_of
from lunaos.infra import database, event_loop
from runs import chain_steps, executors, outcomes, texts
from runs.eventlog import log
from runs.eventlog.recorder import LeaseLost, Recorder, RunEvent, StopReason
from runs.metering.tokens import TokenUsage
from runs.models import Run, RunStep, Status
from runs.recovery import leases

# For saving a step: no worker can claim the chain while the database is away, and a lost step would be asked again.
STEP_PATIENCE_S = 600.0
Result = TypeVar("Result")


@dataclass(slots=True)
class ChainExecution:
    """The execution of one chain."""

    run: Run
    recorder: Recorder
    text: str  # the request's context
    stored_events: str  # the chain's events in the database
    ended: dict[int, RunStep]  # steps that have ended, by position, including those of earlier executions
    first_token_ms: int | None  # from the request to the first text of any step; None before it
    provider_asked: bool = False  # whether any provider was sent a request, in this execution or an earlier one
    answer: Completion | None = None  # the answer of the current step; None between steps

    @property
    def next_position(self) -> int:
        """Return the position of the first step that has not succeeded."""
        # Behind the last step if all have.
        return next(n for n in range(1, len(self.run.steps) + 2) if not self._succeeded(n))

    @property
    def succeeded(self) -> list[RunStep]:
        """Return the steps before the next one, in order."""
        return [self.ended[position] for position in range(1, self.next_position)]

    def _succeeded(self, position: int) -> bool:
        return position in self.ended and self.ended[position].status == Status.SUCCEEDED


def run(run_id: UUID) -> None:
    """Execute the next queued chain."""
    # Returns when the chain has ended or its lease is lost.
    if claimed := event_loop.submit(_call_database(leases.claim_next, run_id)).result():
        executors.submit(Recorder(claimed.pk, attempt=0), partial(_execute, claimed.attempt)).result()


async def _execute(attempt: int, recorder: Recorder) -> None:
    chain = await _load_chain(attempt, recorder)
    try:
        await _run_steps(chain)
    except (LeaseLost, *database.OUTAGES):  # an outage does not fail the chain: `recovery` finds it later
        raise
    except asyncio.CancelledError:
        await _handle_stop(chain)
    except Exception as e:
        recorder.finishing = True
        error, answer = executors.to_client_error(e), chain.answer
        await _save_step(chain, Status.FAILED, error.code)
        await _finish(chain, Status.FAILED, outcomes.error_event(error), error, answer)
    else:
        await _finish(chain, Status.SUCCEEDED, events.chain_done(chain.succeeded))


async def _load_chain(attempt: int, recorder: Recorder) -> ChainExecution:
    # Fence the log and load the chain, then make the chain cancellable.
    # The recorder gets its attempt last: without one it is not cancelled half-way. The row is read after the recorder
    # is registered in this process, so that no cancellation is missed in between.
    recorder.load_log([line for _, line in await log.fence(recorder.run_id, attempt)])
    run, text, stored_events, steps = await _call_database(_load_rows, recorder.run_id)
    if run is None or run.attempt != attempt:
        raise LeaseLost
    if run.cancel_requested_at and recorder.stop_reason is None:
        recorder.stop_reason = StopReason.CANCELLED
    recorder.attempt = attempt
    ended = {step.position: step for step in steps}
    provider_asked = any(type_of(line) == "step_start" for line in recorder.lines)
    return ChainExecution(run, recorder, text, stored_events, ended, run.first_token_ms, provider_asked)


def _load_rows(run_id: UUID) -> tuple[Run | None, str, str, list[RunStep]]:
    run = Run.objects.filter(pk=run_id).first()
    text = texts.load_text(run) if run else None
    return run, text.input if text else "", text.events if text else "", chain_steps.load(run) if run else []


async def _run_steps(chain: ChainExecution) -> None:
    if chain.recorder.stop_reason:  # requested before there was a task to cancel
        raise asyncio.CancelledError
    chain.recorder.record(*events.missing_events(chain.run, chain.succeeded, chain.recorder.lines, chain.stored_events))
    try:
        async with asyncio.timeout(settings.CHAIN_TIMEOUT_S):
            while chain.next_position <= len(chain.run.steps):
                await _run_step(chain)
    except TimeoutError as e:
        raise ProviderTimeout(f"The chain took longer than {settings.CHAIN_TIMEOUT_S:g} seconds.") from e


async def _run_step(chain: ChainExecution) -> None:
    position, recorder = chain.next_position, chain.recorder
    agent, targets, window = await _call_database(_prepare_step, chain.run, position)
    answer_tokens = max(target.output_limit(agent.max_tokens) for target in targets)
    max_bytes = context.max_context_bytes(window=window, answer=answer_tokens, prompt=agent.prompt)
    text, truncations = context.compose(
        chain.text, _outputs(chain), max_bytes, context.boundary(chain.run.pk, position)
    )
    # `step_start` names no provider, so the client expects the provider of the chain
    chain.answer = Completion(
        targets, agent_services.build_prompt(agent, text), time.perf_counter(), announced_target=targets[0]
    )
    recorder.record(events.step_start(chain.run, position, truncations, recorder.lines))
    async with aclosing(chain.answer.stream()) as batches:
        async for batch in batches:
            if chain.answer.texts:
                chain.first_token_ms = chain.first_token_ms or _age_ms(chain.run)
            recorder.record(*batch)
    details = opening_fields(chain.answer)
    await recorder.flush()  # before the save: a saved step is not streamed again
    await _save_step(chain, Status.SUCCEEDED)
    recorder.record(events.step_done(chain.ended[position]) | details)


def _prepare_step(run: Run, position: int) -> tuple[Agent, list[Target], int]:
    # The number is the smallest context window of the targets, in tokens: a fallback has to take the context too.
    agent = agent_services.get_agent(run.steps[position - 1])
    targets = agent_services.targets_for_run(run)
    return agent, targets, min(catalogue.context_window(each.provider.name, each.model) for each in targets)


def _outputs(chain: ChainExecution) -> list[context.StepOutput]:
    return [context.StepOutput(step.position, step.agent, step.output) for step in chain.succeeded]


async def _handle_stop(chain: ChainExecution) -> None:
    if chain.recorder.stop_reason is StopReason.CANCELLED:
        if chain.answer:
            await _save_step(chain, Status.CANCELLED)
        await _finish(chain, Status.CANCELLED, outcomes.CANCELLED_EVENT)
    elif chain.recorder.stop_reason is StopReason.SHUTTING_DOWN:
        await chain.recorder.flush()
        if chain.answer:  # keeps the cost of this attempt in the sum
            await _save_step(chain, Status.INTERRUPTED)
        if await _call_database(leases.release, chain.run, chain.first_token_ms):
            with suppress(*queue.UNREACHABLE):  # `recovery` resends it
                await asyncio.to_thread(queue.enqueue, chain.run.pk)
    elif chain.recorder.stop_reason is None:
        raise asyncio.CancelledError


async def _save_step(chain: ChainExecution, status: Status, error_code: str = "") -> None:
    position = chain.next_position
    if position > len(chain.run.steps):
        return
    used, cost = TokenUsage(), Cost()
    if chain.answer:
        chain.provider_asked = chain.provider_asked or chain.answer.may_be_billed
        used, cost = await chain.answer.record_usage(chain.run.steps[position - 1])
    step = _build_row(chain, position, used, cost)
    step.status, step.error_code = status, error_code
    ended = status in (Status.FAILED, Status.CANCELLED)
    patience_s = settings.DATABASE_PATIENCE_S if ended else STEP_PATIENCE_S
    try:
        saved = await _call_database(chain_steps.save, chain.run, step, chain.first_token_ms, patience_s=patience_s)
    except database.OUTAGES:
        if not ended:
            raise
        # The chain's end follows, includes the step's cost, and is stored in Valkey.
        saved = True
    if not saved:
        raise LeaseLost
    chain.ended[position], chain.answer = step, None


def _build_row(chain: ChainExecution, position: int, used: TokenUsage, cost: Cost) -> RunStep:
    # Return a step's row; the cost of earlier executions of the step is added.
    run, answer, earlier = chain.run, chain.answer, chain.ended.get(position)
    tokens = used + (TokenUsage.from_row(earlier) if earlier else TokenUsage())
    return RunStep(
        run_id=run.pk,
        expires_at=run.expires_at,
        position=position,
        agent=run.steps[position - 1],
        provider=answer.answering.provider.name if answer else run.provider,
        model=answer.answering.model if answer else run.model,
        **tokens.columns,
        cost_usd=cost.usd + (earlier.cost_usd if earlier else 0),
        cost_known=cost.known and (earlier is None or earlier.cost_known),
        duration_ms=(answer.elapsed_ms if answer else 0) + (earlier.duration_ms if earlier else 0),
        finished_at=datetime.now(UTC),
        output=answer.output if answer else "",
    )


async def _finish(
    chain: ChainExecution,
    status: Status,
    last: RunEvent,
    error: LunaError | None = None,
    answer: Completion | None = None,
) -> None:
    outcome = outcomes.Outcome(
        status=status,
        provider=chain.run.provider,
        model=chain.run.model,
        failure=failure_of(error, answer),
        shown=texts.has_text(chain.recorder.lines),
        counted=isinstance(error, ProviderFailed) and error.counted,
        asked=chain.provider_asked,
        first_token_ms=chain.first_token_ms,
        **outcomes.sum_steps([chain.ended[position] for position in sorted(chain.ended)]),
    )
    await executors.finish(chain.run, chain.recorder, outcome, last)


def _age_ms(run: Run) -> int:
    age_ms = round((datetime.now(UTC) - run.created_at).total_seconds() * 1000)
    return min(max(1, age_ms), outcomes.MAX_DURATION_MS)


async def _call_database(function: Callable[..., Result], *args: Any, patience_s: float | None = None) -> Result:
    patience_s = settings.DATABASE_PATIENCE_S if patience_s is None else patience_s
    return await database.call(function, *args, patience_s=0.0 if executors.is_shutting_down() else patience_s)
