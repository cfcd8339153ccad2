"""Execution of one run: request to the model, events to the client, outcome to the log."""

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
from lunaos.infra.observability import metrics
from runs import executors
from runs.errors import OutputTooLong, RunInterrupted
from runs.eventlog.recorder import LeaseLost, Recorder, RunEvent, StopReason
from runs.metering import tokens
from runs.metering.tokens import TokenUsage
from runs.models import Run, Status
from runs.outcomes import CANCELLED_EVENT, Failure, Outcome, error_event

EMBEDDED_MODEL = "smollm2-135m-instruct"  # what `make up` starts; operators may serve others as `local`
LOCAL_NOTICE = (
    "The small embedded model answers. It demonstrates the stream and cannot review. "
    "For real answers set DEEPSEEK_API_KEY, ANTHROPIC_API_KEY or OPENAI_API_KEY on the server, "
    "or bring your own key: PUT /providers/{name}/key."
)


@dataclass(slots=True)
class Completion:
    """A model's answer to one prompt while it streams."""

    # `started` is the arrival of the request on the `time.perf_counter` clock. `opening_events` lie between the
    # stream's start and the answer. The last of `attempts` is running or has answered.

    targets: list[Target]
    prompt: Prompt
    started: float
    opening_events: list[RunEvent] = field(default_factory=list)
    validate: fallback.Validator = answer_validation.require_text
    attempts: list[Attempt] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    announced_target: Target | None = None
    announced_states: set[str] = field(default_factory=set)
    first_token_ms: int | None = None
    last_text_at: float = 0.0

    async def stream(self) -> AsyncGenerator[list[RunEvent], None]:
        """Send the request and yield `chunk` and `progress` events as they arrive.

        Raises ProviderFailed, ProviderTimeout (LLM_RUN_TIMEOUT_S from the first text on) or OutputTooLong.
        """
        blocks = fallback.stream_answer(self.targets, self.prompt, self.attempts, self.validate)
        await asyncio.sleep(0)  # an earlier cancellation is raised here, before a provider gets the request
        try:
            async with asyncio.timeout(None) as limit, aclosing(blocks):
                async for block in blocks:
                    if block.reply.has_delta and limit.when() is None:
                        limit.reschedule(asyncio.get_running_loop().time() + settings.LLM_RUN_TIMEOUT_S)
                    if events := self._events(block):
                        yield events
        except TimeoutError as e:
            raise ProviderTimeout(f"The run took longer than {settings.LLM_RUN_TIMEOUT_S:g} seconds.") from e

    def _events(self, block: Block) -> list[RunEvent]:
        events = self._progress(block)
        if block.texts:
            self._add_texts(block.texts)
        events += chunk_events(block.texts)
        if events and self.announced_target is not None and self.announced_target is not self.answering:
            events.insert(0, _progress_event("fallback", self.answering))
        if events:
            self.announced_target = self.answering
        return events

    def _progress(self, block: Block) -> list[RunEvent]:
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
        # Update metrics and alert operators.
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
        """Return whether a provider may have worked on the request."""
        return any(attempt.may_be_billed for attempt in self.attempts)

    @property
    def answering(self) -> Target:
        """Return the target that answers or was requested last."""
        return self.attempts[-1].target if self.attempts else self.targets[0]

    @property
    def finish_reason(self) -> str | None:
        return self.attempts[-1].reply.finish_reason if self.attempts else None

    def last_attempt(self, error: LunaError) -> dict[str, Any] | None:
        """Return the failed provider attempt as JSON; None if no provider caused the error."""
        # A running attempt has no error of its own if a limit of the run ended it.
        if not self.attempts or not isinstance(error, ProviderFailed | OutputTooLong):
            return None
        last = self.attempts[-1]
        last.error = last.error or error
        return last.as_json()

    @property
    def tokens(self) -> TokenUsage:
        """Return the tokens of all attempts, including those before a fallback."""
        return sum((usage for _, usage in self._usages()), TokenUsage())

    @property
    def cost(self) -> Cost:
        costs = (prices.cost(target.provider.name, target.model, usage) for target, usage in self._usages())
        return sum(costs, Cost())

    def _usages(self) -> Iterator[tuple[Target, TokenUsage]]:
        prompt_tokens = sum(tokens.estimate(message["content"]) for message in self.prompt.messages)
        for attempt in self.attempts:
            text = self.output if attempt is self.attempts[-1] else ""  # only the last attempt has text
            yield attempt.target, attempt.usage(prompt_tokens=prompt_tokens, text=text)


def _progress_event(state: str, target: Target | None = None) -> RunEvent:
    who = {"provider": target.provider.name, "model": target.model} if target else {}
    return {"type": "progress", "state": state, **who}


def chunk_events(texts: list[str]) -> list[RunEvent]:
    return [{"type": "chunk", "content": text} for text in texts]


def opening_fields(completion: Completion) -> RunEvent:
    """Return the fields `fallbackFrom` and `notice` of the event that opens an answer."""
    requested, answering = completion.targets[0], completion.answering
    fallback_field = {"fallbackFrom": requested.provider.name} if answering is not requested else {}
    return fallback_field | notice_fields(answering.provider.name, answering.model)


def notice_fields(provider: str, model: str) -> RunEvent:
    """Return the field `notice` for the embedded model, which demonstrates the stream."""
    return {"notice": LOCAL_NOTICE} if (provider, model) == (LOCAL, EMBEDDED_MODEL) else {}


async def execute(run: Run, completion: Completion, recorder: Recorder) -> None:
    """Run to the end, with or without a client; raise LeaseLost if another process has ended the run."""
    # The run is finished once: errors of the answer fail the run; an error while its end is written does not change
    # the outcome.
    status, error = Status.SUCCEEDED, cast(LunaError | None, None)
    try:
        async with aclosing(completion.stream()) as batches:
            async for events in batches:
                opening = [] if recorder.lines else [_start(run, completion), *completion.opening_events]
                recorder.record(*opening, *events)
    except LeaseLost:
        raise
    except asyncio.CancelledError:
        if recorder.stop_reason not in (StopReason.CANCELLED, StopReason.SHUTTING_DOWN):
            raise
        status = Status.CANCELLED if recorder.stop_reason is StopReason.CANCELLED else Status.INTERRUPTED
        error = RunInterrupted() if recorder.stop_reason is StopReason.SHUTTING_DOWN else None
    except Exception as e:
        status, error = Status.FAILED, executors.to_client_error(e)
    recorder.finishing = True  # from here on nothing may cancel the run
    await _finish(run, completion, recorder, status, error)


def _start(run: Run, completion: Completion) -> RunEvent:
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
    """Return the stored failure: the client's message and the last provider attempt."""
    if error is None:
        return None
    status = error.provider_status if isinstance(error, ProviderFailed) else None
    return Failure(error.code, str(error), status, completion.last_attempt(error) if completion else None)


def _final_event(run: Run, completion: Completion, outcome: Outcome, error: LunaError | None) -> RunEvent:
    if error:
        return error_event(error)
    if outcome.status == Status.CANCELLED:
        return CANCELLED_EVENT
    return {
        "type": "done",
        "tokens": outcome.tokens.as_json(),
        **Cost(outcome.cost_usd, outcome.cost_known).as_json(),
        "duration": f"{outcome.duration_s(run):.1f}s",
        "durationMs": round(outcome.duration_s(run) * 1000),
        "finishReason": completion.finish_reason,
    }
