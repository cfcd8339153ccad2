"""Does one execution: asks the model, turns what comes into the contract's events, writes how it ended."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, cast

from django.conf import settings

from agents import alerts, answer_validation
from agents.providers import LOCAL, Target, fallback, prices
from agents.providers.errors import ProviderFailed, ProviderTimeout
from agents.providers.openai_compatible import Prompt
from agents.providers.prices import Cost
from agents.providers.reply import Attempt, Block
from lunaos.errors import LunaError
from lunaos.infra import metrics
from runs import executors
from runs.errors import OutputTooLong, RunInterrupted
from runs.eventlog.recorder import Event, Overtaken, Recorder, Stop
from runs.metering import tokens
from runs.metering.tokens import TokenUsage
from runs.models import Run, Status
from runs.outcomes import CANCELLED, Failure, Outcome, failure

LOCAL_NOTICE = (
    "Answered by the small embedded model, which reviews poorly. "
    "For a capable one set DEEPSEEK_API_KEY, ANTHROPIC_API_KEY or OPENAI_API_KEY on the server, "
    "or bring your own key: PUT /providers/{name}/key."
)


@dataclass(slots=True)
class Completion:
    """What a model says to one prompt, while it says it.

    Args:
        targets: the provider and model asked for, then those to fall back on.
        started: when it was asked for, on the `time.perf_counter` clock.
        opening_events: what the stream says between its start and the answer.
        validate: judges what has come to an end; raises ProviderFailed for what is no answer.
        attempts: the requests to providers so far; the last one is under way, or has answered.
        announced_target: the target that the client has been told of.
        announced_states: what the client has been told of the wait for the answer.
    """

    targets: list[Target]
    prompt: Prompt
    started: float
    opening_events: list[Event] = field(default_factory=list)
    validate: fallback.Validator = answer_validation.require_text
    attempts: list[Attempt] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    announced_target: Target | None = None
    announced_states: set[str] = field(default_factory=set)
    first_token_ms: int | None = None
    last_text_at: float = 0.0

    async def stream(self) -> AsyncGenerator[list[Event], None]:
        """Ask, and yield `chunk` and `progress` events as they come.

        Raises:
            ProviderFailed: no target answers, the answer broke off or is none.
            ProviderTimeout: it took longer than LLM_RUN_TIMEOUT_S from its first piece on.
            OutputTooLong: a piece of it is longer than a run may be.
        """
        blocks = fallback.stream_answer(self.targets, self.prompt, self.attempts, self.validate)
        await asyncio.sleep(0)  # a cancellation that came first is raised here, before a provider is asked
        try:
            async with asyncio.timeout(None) as limit, aclosing(blocks):
                async for block in blocks:
                    if block.reply.has_delta and limit.when() is None:
                        limit.reschedule(asyncio.get_running_loop().time() + settings.LLM_RUN_TIMEOUT_S)
                    if events := self._events(block):
                        yield events
        except TimeoutError as e:
            raise ProviderTimeout(f"The run took longer than {settings.LLM_RUN_TIMEOUT_S:g} seconds.") from e

    def _events(self, block: Block) -> list[Event]:
        events = self._progress(block)
        if block.texts:
            self._add_texts(block.texts)
        events += chunk_events(block.texts)
        if events and self.announced_target is not None and self.announced_target is not self.answering:
            events.insert(0, _progress_event("fallback", self.answering))
        if events:
            self.announced_target = self.answering
        return events

    def _progress(self, block: Block) -> list[Event]:
        """Return what the client has to know of its wait, each state once."""
        if self.texts:
            return []
        found = [state for state, is_so in (("queued", block.queued), ("thinking", block.thinking)) if is_so]
        new_states = [state for state in found if state not in self.announced_states]
        self.announced_states.update(new_states)
        return [_progress_event(state) for state in new_states]

    def _add_texts(self, texts: list[str]) -> None:
        self.texts += texts
        before, self.last_text_at = self.last_text_at, time.perf_counter()
        if before:
            metrics.CHUNK_GAP.labels(self.answering.provider.name).observe(self.last_text_at - before)
        else:
            self.first_token_ms = max(1, self.elapsed_ms)
            metrics.FIRST_CHUNK.labels(self.answering.provider.name).observe(self.last_text_at - self.started)

    async def record_usage(self, agent: str) -> tuple[TokenUsage, Cost]:
        """Return what it took, once it has ended; metrics are told, and operators where it is reason for an alarm."""
        provider, used, cost = self.answering.provider, self.tokens, self.cost
        cost_usd = Decimal(0) if provider.own_key else cost.usd
        metrics.count_answer(provider=provider.name, agent=agent, tokens=(used.input, used.output), cost_usd=cost_usd)
        await alerts.alert_operators(self.attempts, cost)
        return used, cost

    @property
    def elapsed_ms(self) -> int:
        return round((time.perf_counter() - self.started) * 1000)

    @property
    def output(self) -> str:
        return "".join(self.texts)

    @property
    def may_be_billed(self) -> bool:
        """Whether any provider was sent the request and may have worked on it."""
        return any(attempt.may_be_billed for attempt in self.attempts)

    @property
    def answering(self) -> Target:
        """Return who answers, or was asked last."""
        return self.attempts[-1].target if self.attempts else self.targets[0]

    @property
    def finish_reason(self) -> str | None:
        return self.attempts[-1].reply.finish_reason if self.attempts else None

    def last_attempt(self, error: LunaError) -> dict[str, Any] | None:
        """Return the attempt that an error ended, as it is stored; None where it has nothing to do with a provider.

        Args:
            error: why the run fails; the attempt under way has none of its own where a limit of the run ended it.
        """
        if not self.attempts or not isinstance(error, ProviderFailed | OutputTooLong):
            return None
        last = self.attempts[-1]
        last.error = last.error or error
        return last.as_json()

    @property
    def tokens(self) -> TokenUsage:
        """Return the tokens of all attempts, those included that were given up before their first text."""
        return sum((usage for _, usage in self._usages()), TokenUsage())

    @property
    def cost(self) -> Cost:
        """Return the price of all attempts."""
        costs = (prices.cost(target.provider.name, target.model, usage) for target, usage in self._usages())
        return sum(costs, Cost())

    def _usages(self) -> Iterator[tuple[Target, TokenUsage]]:
        prompt_tokens = sum(tokens.estimate(message["content"]) for message in self.prompt.messages)
        for attempt in self.attempts:
            text = self.output if attempt is self.attempts[-1] else ""  # only the last one has come to its first text
            yield attempt.target, attempt.usage(prompt_tokens=prompt_tokens, text=text)


def _progress_event(state: str, target: Target | None = None) -> Event:
    who = {"provider": target.provider.name, "model": target.model} if target else {}
    return {"type": "progress", "state": state, **who}


def chunk_events(texts: list[str]) -> list[Event]:
    """The `chunk` events of pieces of an answer."""
    return [{"type": "chunk", "content": text} for text in texts]


def opening_fields(completion: Completion) -> Event:
    """What an event that opens an answer says beyond the contract: who stands in for whom, and what to know of it."""
    requested, name = completion.targets[0], completion.answering.provider.name
    fallback_field = {"fallbackFrom": requested.provider.name} if completion.answering is not requested else {}
    return fallback_field | ({"notice": LOCAL_NOTICE} if name == LOCAL else {})


async def execute(run: Run, completion: Completion, recorder: Recorder) -> None:
    """Answer, whoever may be listening; the run is finished once when this ends.

    Only what the answer raises makes it fail: what writing its end raises leaves it as it was.

    Raises:
        Overtaken: somebody else has ended the run.
    """
    status, error = Status.SUCCEEDED, cast(LunaError | None, None)
    try:
        async with aclosing(completion.stream()) as batches:
            async for events in batches:
                opening = [] if recorder.lines else [_start(run, completion), *completion.opening_events]
                recorder.record(*opening, *events)
    except Overtaken:
        raise
    except asyncio.CancelledError:
        if recorder.stop not in (Stop.CANCELLED, Stop.LEAVING):
            raise
        status = Status.CANCELLED if recorder.stop is Stop.CANCELLED else Status.INTERRUPTED
        error = RunInterrupted() if recorder.stop is Stop.LEAVING else None
    except Exception as e:
        status, error = Status.FAILED, executors.as_error(e)
    recorder.finishing = True  # nothing may break it off from here on
    await _finish(run, completion, recorder, status, error)


def _start(run: Run, completion: Completion) -> Event:
    target = completion.answering
    return {
        "type": "start",
        "agent": run.agent,
        "model": target.model,
        "provider": target.provider.name,
        "runId": str(run.pk),
        **opening_fields(completion),
    }


async def _finish(
    run: Run, completion: Completion, recorder: Recorder, status: Status, error: LunaError | None = None
) -> None:
    target = completion.answering
    used, cost = await completion.record_usage(run.agent)
    outcome = Outcome(
        status=status,
        provider=target.provider.name,
        model=target.model,
        failure=failure_of(error, completion),
        output=completion.output,
        shown=bool(completion.output.strip()),
        counted=isinstance(error, ProviderFailed) and error.counted,
        asked=completion.may_be_billed,
        tokens=used,
        cost_usd=cost.usd,
        cost_known=cost.known,
        first_token_ms=completion.first_token_ms,
    )
    await executors.finish(run, recorder, outcome, _final_event(run, completion, outcome, error))


def failure_of(error: LunaError | None, completion: Completion | None) -> Failure | None:
    """Return what is written down of a failure: the client's sentence, and the last attempt at a provider."""
    if error is None:
        return None
    status = error.provider_status if isinstance(error, ProviderFailed) else None
    return Failure(error.code, str(error), status, completion.last_attempt(error) if completion else None)


def _final_event(run: Run, completion: Completion, outcome: Outcome, error: LunaError | None) -> Event:
    if error:
        return failure(error)
    if outcome.status == Status.CANCELLED:
        return CANCELLED
    return {
        "type": "done",
        "tokens": outcome.tokens.as_json(),
        **Cost(outcome.cost_usd, outcome.cost_known).as_json(),
        "duration": f"{outcome.duration_s(run):.1f}s",
        "finishReason": completion.finish_reason,
    }
