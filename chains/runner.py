"""Does a chain in a worker: step after step, each written down when it ends, so that another worker can go on."""

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
from lunaos.infra import database, event_loop
from runs import executors, leases, outcomes, texts
from runs.eventlog import log
from runs.eventlog.recorder import Event, Overtaken, Recorder, Stop
from runs.metering import estimates
from runs.metering.tokens import TokenUsage
from runs.models import Run, RunStep, Status

# To write a step down: nobody can take the chain over while the database is away, and the step would be asked again.
STEP_PATIENCE_S = 600.0
Result = TypeVar("Result")


@dataclass(slots=True)
class Chain:
    """One chain under way.

    Args:
        text: the request's context.
        kept: its events as they are stored.
        ended: steps that have ended, by position; those of an earlier execution included.
        first_token_ms: from the request to the first piece of any answer, None before it.
        asked: whether any provider has been sent a request, in this execution or an earlier one.
        answer: what the step under way is being told, None between steps.
    """

    run: Run
    recorder: Recorder
    text: str
    kept: str
    ended: dict[int, RunStep]
    first_token_ms: int | None
    asked: bool = False
    answer: Completion | None = None

    @property
    def under_way(self) -> int:
        """Position of the first step that has not succeeded; behind the last one where all have."""
        return next(n for n in range(1, len(self.run.steps) + 2) if not self._succeeded(n))

    @property
    def succeeded(self) -> list[RunStep]:
        """The steps before it, in order."""
        return [self.ended[position] for position in range(1, self.under_way)]

    def _succeeded(self, position: int) -> bool:
        return position in self.ended and self.ended[position].status == Status.SUCCEEDED


def run(run_id: UUID) -> None:
    """Execute the waiting chain whose turn it is, and return when it has ended or is another worker's.

    Args:
        run_id: the chain that the worker was woken for.
    """
    if claimed := event_loop.submit(_database(leases.claim_next, run_id)).result():
        executors.submit(Recorder(claimed.pk, attempt=0), partial(_execute, claimed.attempt)).result()


async def _execute(attempt: int, recorder: Recorder) -> None:
    chain = await _begin(attempt, recorder)
    try:
        await _steps(chain)
    except (Overtaken, *database.OUTAGES):  # an outage is no fault of the answer's: `recovery` finds the chain later
        raise
    except asyncio.CancelledError:
        await _stopped(chain)
    except Exception as e:
        recorder.finishing = True
        error, answer = executors.as_error(e), chain.answer
        await _save(chain, Status.FAILED, error.code)
        await _finish(chain, Status.FAILED, outcomes.failure(error), error, answer)
    else:
        await _finish(chain, Status.SUCCEEDED, events.chain_done(chain.succeeded))


async def _begin(attempt: int, recorder: Recorder) -> Chain:
    """Not to be broken off half-way: the recorder has no attempt before the end.

    The row is read when the recorder is known to the process, so that no cancellation falls between the two.

    Raises:
        Overtaken: another execution has claimed the chain meanwhile.
    """
    recorder.take_up([line for _, line in await log.take_over(recorder.run_id, attempt)])
    run, text, kept, steps = await _database(_load, recorder.run_id)
    if run is None or run.attempt != attempt:
        raise Overtaken
    if run.cancel_requested_at and recorder.stop is None:
        recorder.stop = Stop.CANCELLED
    recorder.attempt = attempt
    ended = {step.position: step for step in steps}
    asked = any(line.startswith(estimates.STEP_START) for line in recorder.lines)
    return Chain(run, recorder, text, kept, ended, run.first_token_ms, asked)


def _load(run_id: UUID) -> tuple[Run | None, str, str, list[RunStep]]:
    run = Run.objects.filter(pk=run_id).first()
    text = texts.text_of(run) if run else None
    return run, text.input if text else "", text.events if text else "", texts.steps_of(run) if run else []


async def _steps(chain: Chain) -> None:
    if chain.recorder.stop:  # that was asked for before there was anything to break off
        raise asyncio.CancelledError
    chain.recorder.record(*events.untold(chain.run, chain.succeeded, chain.recorder.lines, chain.kept))
    try:
        async with asyncio.timeout(settings.CHAIN_TIMEOUT_S):
            while chain.under_way <= len(chain.run.steps):
                await _step(chain)
    except TimeoutError as e:
        raise ProviderTimeout(f"The chain took longer than {settings.CHAIN_TIMEOUT_S:g} seconds.") from e


async def _step(chain: Chain) -> None:
    position, recorder = chain.under_way, chain.recorder
    agent, targets, window = await _database(_equip, chain.run, position)
    answer_tokens = max(target.output_limit(agent.max_tokens) for target in targets)
    room = context.room(window=window, answer=answer_tokens, prompt=agent.prompt)
    text, cuts = context.compose(chain.text, _outputs(chain), room, context.mark(chain.run.pk, position))
    # `step_start` names nobody, so that the client expects the provider that the chain was begun with
    chain.answer = Completion(
        targets, agent_services.build_prompt(agent, text), time.perf_counter(), announced_target=targets[0]
    )
    recorder.record(events.step_start(chain.run, position, cuts, recorder.lines))
    async with aclosing(chain.answer.stream()) as batches:
        async for batch in batches:
            if chain.answer.texts:
                chain.first_token_ms = chain.first_token_ms or _age_ms(chain.run)
            recorder.record(*batch)
    told = opening_fields(chain.answer)
    await recorder.flush()  # a step that is written down is not told again
    await _save(chain, Status.SUCCEEDED)
    recorder.record(events.step_done(chain.ended[position]) | told)


def _equip(run: Run, position: int) -> tuple[Agent, list[Target], int]:
    """The step's agent, who may answer, and the tokens that even the smallest of them holds."""
    agent = agent_services.get_agent(run.steps[position - 1])
    targets = agent_services.targets_for_run(run)
    return agent, targets, min(catalogue.context_window(each.provider.name, each.model) for each in targets)


def _outputs(chain: Chain) -> list[context.Output]:
    return [context.Output(step.position, step.agent, step.output) for step in chain.succeeded]


async def _stopped(chain: Chain) -> None:
    if chain.recorder.stop is Stop.CANCELLED:
        if chain.answer:
            await _save(chain, Status.CANCELLED)
        await _finish(chain, Status.CANCELLED, outcomes.CANCELLED)
    elif chain.recorder.stop is Stop.LEAVING:
        await chain.recorder.flush()
        if chain.answer:  # what this attempt at the step has cost stays in the sum
            await _save(chain, Status.INTERRUPTED)
        if await _database(leases.hand_over, chain.run, chain.first_token_ms):
            with suppress(*queue.DOWN):  # `recovery` sends it again
                await asyncio.to_thread(queue.enqueue, chain.run.pk)
    elif chain.recorder.stop is None:
        raise asyncio.CancelledError


async def _save(chain: Chain, status: Status, error_code: str = "") -> None:
    """Write down the step under way, if one is.

    Raises:
        Overtaken: the chain is another worker's now.
    """
    position = chain.under_way
    if position > len(chain.run.steps):
        return
    used, cost = TokenUsage(), Cost()
    if chain.answer:
        chain.asked = chain.asked or chain.answer.may_be_billed
        used, cost = await chain.answer.record_usage(chain.run.steps[position - 1])
    step = _row(chain, position, used, cost)
    step.status, step.error_code = status, error_code
    ended = status in (Status.FAILED, Status.CANCELLED)
    patience_s = settings.DATABASE_PATIENCE_S if ended else STEP_PATIENCE_S
    try:
        mine = await _database(texts.save_step, chain.run, step, chain.first_token_ms, patience_s=patience_s)
    except database.OUTAGES:
        if not ended:
            raise
        mine = True  # the chain's end, which follows, holds the step's cost, and is kept (`runs.pending_outcomes`)
    if not mine:
        raise Overtaken
    chain.ended[position], chain.answer = step, None


def _row(chain: Chain, position: int, used: TokenUsage, cost: Cost) -> RunStep:
    """Return a step's row; what an earlier execution of it has cost stays in the sum."""
    run, answer, earlier = chain.run, chain.answer, chain.ended.get(position)
    tokens = used + (TokenUsage.of(earlier) if earlier else TokenUsage())
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
    chain: Chain, status: Status, last: Event, error: LunaError | None = None, answer: Completion | None = None
) -> None:
    """End the chain.

    Args:
        error: why, where it failed; with the answer that the failed step had, if any.
    """
    outcome = outcomes.Outcome(
        status=status,
        provider=chain.run.provider,
        model=chain.run.model,
        failure=failure_of(error, answer),
        shown=texts.shows_text(chain.recorder.lines),
        counted=isinstance(error, ProviderFailed) and error.counted,
        asked=chain.asked,
        first_token_ms=chain.first_token_ms,
        **outcomes.totals([chain.ended[position] for position in sorted(chain.ended)]),
    )
    await executors.finish(chain.run, chain.recorder, outcome, last)


def _age_ms(run: Run) -> int:
    age_ms = round((datetime.now(UTC) - run.created_at).total_seconds() * 1000)
    return min(max(1, age_ms), outcomes.LONGEST_MS)


async def _database(function: Callable[..., Result], *args: Any, patience_s: float | None = None) -> Result:
    patience_s = settings.DATABASE_PATIENCE_S if patience_s is None else patience_s
    return await database.call(function, *args, patience_s=0.0 if executors.is_leaving() else patience_s)
