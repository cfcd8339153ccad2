"""Does one execution: asks the model, turns what comes into the contract's events, writes how it ended."""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from channels.db import database_sync_to_async
from django.conf import settings

import runs.services as runs
from agents.providers import LOCAL, Target, fallback, prices
from agents.providers.errors import ProviderTimeout
from agents.providers.openai_compatible import Block, Prompt
from lunaos.errors import LunaError
from runs.models import Run, Status

CHARACTERS_A_TOKEN = 4  # the rule of thumb for English and code, where the provider does not count
LOCAL_NOTICE = (
    "Answered by the small embedded model, which reviews poorly. "
    "Set DEEPSEEK_API_KEY, ANTHROPIC_API_KEY or OPENAI_API_KEY for a capable one."
)

Event = dict[str, Any]
logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Execution:
    """One run under way.

    Args:
        targets: the provider and model asked for, then those to fall back on.
        started: when the request came in, on the `time.perf_counter` clock.
    """

    run: Run
    targets: list[Target]
    prompt: Prompt
    started: float
    target: Target | None = None
    texts: list[str] = field(default_factory=list)
    tokens: tuple[int, int] | None = None
    finish_reason: str | None = None
    first_token_ms: int | None = None
    cost_usd: Decimal = Decimal(0)

    @property
    def elapsed_s(self) -> float:
        return time.perf_counter() - self.started


async def execute(execution: Execution) -> AsyncGenerator[list[Event], None]:
    """Yield the run's events; whatever happens, the run is finished once when this ends.

    Raises:
        LunaError: what ended the run; the caller tells it to whoever listens.
    """
    try:
        async for events in _answer(execution):
            yield events
    except LunaError as e:
        await _finish(execution, Status.FAILED, e.code)
        raise
    except (asyncio.CancelledError, GeneratorExit):
        await _finish(execution, Status.CANCELLED, "client_gone")
        raise
    except Exception:
        await _finish(execution, Status.FAILED, LunaError.code)
        raise
    await _finish(execution, Status.SUCCEEDED, "")
    yield [_done(execution)]


async def _answer(execution: Execution) -> AsyncGenerator[list[Event], None]:
    try:
        async with (
            asyncio.timeout(settings.LLM_RUN_TIMEOUT_S),
            aclosing(fallback.answer(execution.targets, execution.prompt)) as blocks,
        ):
            async for target, block in blocks:
                opening = [] if execution.target else [_start(execution, target)]
                _note(execution, target, block)
                if events := opening + [{"type": "chunk", "content": text} for text in block.texts]:
                    yield events
    except TimeoutError as e:
        raise ProviderTimeout(f"The run took longer than {settings.LLM_RUN_TIMEOUT_S:g} seconds.") from e


def _note(execution: Execution, target: Target, block: Block) -> None:
    execution.target = target
    execution.tokens = block.tokens or execution.tokens
    execution.finish_reason = block.finish_reason or execution.finish_reason
    if block.texts:
        execution.texts += block.texts
        execution.first_token_ms = execution.first_token_ms or max(1, round(execution.elapsed_s * 1000))


def _start(execution: Execution, target: Target) -> Event:
    run, asked = execution.run, execution.targets[0]
    event = {
        "type": "start",
        "agent": run.agent,
        "model": target.model,
        "provider": target.provider.name,
        "runId": str(run.pk),
    }
    if target is not asked:
        event["fallbackFrom"] = asked.provider.name
    if target.provider.name == LOCAL:
        event["notice"] = LOCAL_NOTICE
    return event


def _done(execution: Execution) -> Event:
    tokens = execution.tokens or (0, 0)
    return {
        "type": "done",
        "tokens": {"input": tokens[0], "output": tokens[1]},
        "cost": prices.dollars(execution.cost_usd),
        "duration": f"{execution.elapsed_s:.1f}s",
        "finishReason": execution.finish_reason,
    }


async def _finish(execution: Execution, status: Status, error_code: str) -> None:
    """Write the outcome, in a thread, even while this task is being cancelled."""
    output = "".join(execution.texts)
    target = execution.target or execution.targets[0]
    if execution.tokens is None and execution.target:
        execution.tokens = _estimate(execution.prompt, output)
    tokens = execution.tokens or (0, 0)
    execution.cost_usd = prices.cost_usd(
        target.provider.name, target.model, input_tokens=tokens[0], output_tokens=tokens[1]
    )
    outcome = runs.Outcome(
        status=status,
        provider=target.provider.name,
        model=target.model,
        error_code=error_code,
        output=output.replace("\0", ""),  # PostgreSQL's text cannot hold NUL
        produced=bool(execution.texts),
        input_tokens=tokens[0],
        output_tokens=tokens[1],
        cost_usd=execution.cost_usd,
        duration_ms=round(execution.elapsed_s * 1000),
        first_token_ms=execution.first_token_ms,
    )
    write = database_sync_to_async(runs.finish, thread_sensitive=False)
    try:
        await asyncio.shield(write(execution.run, outcome))
    except Exception:
        logger.exception("The outcome of run %s was not written; the sweep will end it", execution.run.pk)
        raise


def _estimate(prompt: Prompt, output: str) -> tuple[int, int]:
    sent = sum(len(message["content"]) for message in prompt.messages)
    return -(-sent // CHARACTERS_A_TOKEN), -(-len(output) // CHARACTERS_A_TOKEN)
