"""Does one execution: asks the model, turns what comes into the contract's events, writes how it ended."""

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field
from decimal import Decimal

from django.conf import settings

from agents.providers import LOCAL, Target, fallback, prices
from agents.providers.errors import ProviderTimeout
from agents.providers.openai_compatible import Prompt
from lunaos import metrics
from lunaos.errors import LunaError
from runs import executors
from runs.errors import RunInterrupted
from runs.models import Run, Status
from runs.outcomes import CANCELLED, Outcome, failure
from runs.recorder import Event, Overtaken, Recorder, Stop

CHARACTERS_A_TOKEN = 4  # the rule of thumb for English and code, where the provider does not count
LOCAL_NOTICE = (
    "Answered by the small embedded model, which reviews poorly. "
    "For a capable one set DEEPSEEK_API_KEY, ANTHROPIC_API_KEY or OPENAI_API_KEY on the server, "
    "or bring your own key: PUT /providers/{name}/key."
)


@dataclass(slots=True)
class Answer:
    """What a model says to one prompt, while it says it.

    Args:
        targets: the provider and model asked for, then those to fall back on.
        started: when it was asked for, on the `time.perf_counter` clock.
        told: what the stream says between its start and the answer.
    """

    targets: list[Target]
    prompt: Prompt
    started: float
    told: list[Event] = field(default_factory=list)
    target: Target | None = None
    texts: list[str] = field(default_factory=list)
    reported: tuple[int, int] | None = None
    finish_reason: str | None = None
    first_token_ms: int | None = None
    came_at: float = 0.0

    async def stream(self) -> AsyncGenerator[list[str], None]:
        """Ask, and yield pieces of the answer as they come; the first time perhaps none, when it begins.

        Raises:
            ProviderFailed: no target answers, or the answer broke off.
            ProviderTimeout: it took longer than LLM_RUN_TIMEOUT_S.
        """
        try:
            async with (
                asyncio.timeout(settings.LLM_RUN_TIMEOUT_S),
                aclosing(fallback.answer(self.targets, self.prompt)) as blocks,
            ):
                async for target, block in blocks:
                    begins, self.target = self.target is None, target
                    self.reported = block.tokens or self.reported
                    self.finish_reason = block.finish_reason or self.finish_reason
                    if block.texts:
                        self._take(block.texts)
                    if begins or block.texts:
                        yield block.texts
        except TimeoutError as e:
            raise ProviderTimeout(f"The run took longer than {settings.LLM_RUN_TIMEOUT_S:g} seconds.") from e

    def _take(self, texts: list[str]) -> None:
        self.texts += texts
        before, self.came_at = self.came_at, time.perf_counter()
        if before:
            metrics.CHUNK_GAP.labels(self.answering.provider.name).observe(self.came_at - before)
        else:
            self.first_token_ms = max(1, self.elapsed_ms)
            metrics.FIRST_CHUNK.labels(self.answering.provider.name).observe(self.came_at - self.started)

    def count(self, agent: str) -> None:
        """Tell the metrics what it took, once it has ended."""
        provider = self.answering.provider
        cost_usd = Decimal(0) if provider.own_key else self.cost_usd
        metrics.answered(provider=provider.name, agent=agent, tokens=self.tokens, cost_usd=cost_usd)

    @property
    def elapsed_ms(self) -> int:
        return round((time.perf_counter() - self.started) * 1000)

    @property
    def output(self) -> str:
        return "".join(self.texts)

    @property
    def answering(self) -> Target:
        """Who answers, or was asked."""
        return self.target or self.targets[0]

    @property
    def tokens(self) -> tuple[int, int]:
        """Input and output tokens: the provider's count, else an estimate; none where no provider answered."""
        if self.reported or self.target is None:
            return self.reported or (0, 0)
        sent = sum(len(message["content"]) for message in self.prompt.messages)
        return -(-sent // CHARACTERS_A_TOKEN), -(-len(self.output) // CHARACTERS_A_TOKEN)

    @property
    def cost_usd(self) -> Decimal:
        tokens, target = self.tokens, self.answering
        return prices.cost_usd(target.provider.name, target.model, input_tokens=tokens[0], output_tokens=tokens[1])


def chunks(texts: list[str]) -> list[Event]:
    """The `chunk` events of pieces of an answer."""
    return [{"type": "chunk", "content": text} for text in texts]


def extras(answer: Answer) -> Event:
    """What an event that opens an answer says beyond the contract: who stands in for whom, and what to know of it."""
    asked, name = answer.targets[0], answer.answering.provider.name
    stand_in = {"fallbackFrom": asked.provider.name} if answer.answering is not asked else {}
    return stand_in | ({"notice": LOCAL_NOTICE} if name == LOCAL else {})


async def execute(run: Run, answer: Answer, recorder: Recorder) -> None:
    """Answer, whoever may be listening; the run is finished once when this ends.

    Raises:
        Overtaken: somebody else has ended the run.
    """
    try:
        async with aclosing(answer.stream()) as pieces:
            async for texts in pieces:
                opening = [] if recorder.lines else [_start(run, answer), *answer.told]
                recorder.record(*opening, *chunks(texts))
        await _finish(run, answer, recorder, Status.SUCCEEDED)
    except Overtaken:
        raise
    except asyncio.CancelledError:
        if recorder.stop is Stop.CANCELLED:
            await _finish(run, answer, recorder, Status.CANCELLED)
        elif recorder.stop is Stop.LEAVING:
            await _finish(run, answer, recorder, Status.INTERRUPTED, RunInterrupted())
        else:
            raise
    except Exception as e:
        answer.reported = None  # in case that the provider's count is what could not be written
        await _finish(run, answer, recorder, Status.FAILED, executors.as_error(e))


def _start(run: Run, answer: Answer) -> Event:
    target = answer.answering
    return {
        "type": "start",
        "agent": run.agent,
        "model": target.model,
        "provider": target.provider.name,
        "runId": str(run.pk),
        **extras(answer),
    }


async def _finish(run: Run, answer: Answer, recorder: Recorder, status: Status, error: LunaError | None = None) -> None:
    tokens, target = answer.tokens, answer.answering
    answer.count(run.agent)
    outcome = Outcome(
        status=status,
        provider=target.provider.name,
        model=target.model,
        error_code=error.code if error else "",
        output=answer.output,
        produced=recorder.produced,
        input_tokens=tokens[0],
        output_tokens=tokens[1],
        cost_usd=answer.cost_usd,
        duration_ms=answer.elapsed_ms,
        first_token_ms=answer.first_token_ms,
    )
    await executors.finish(run, recorder, outcome, _last(answer, outcome, error))


def _last(answer: Answer, outcome: Outcome, error: LunaError | None) -> Event:
    if error:
        return failure(error)
    if outcome.status == Status.CANCELLED:
        return CANCELLED
    return {
        "type": "done",
        "tokens": {"input": outcome.input_tokens, "output": outcome.output_tokens},
        "cost": prices.dollars(outcome.cost_usd),
        "duration": f"{outcome.duration_ms / 1000:.1f}s",
        "finishReason": answer.finish_reason,
    }
