"""Retries and fallback to other providers, both only before the first text."""

import asyncio
import random
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

from django.conf import settings

from agents.providers import Provider, Target
from agents.providers.errors import ProviderFailed
from agents.providers.openai_compatible import Prompt, stream
from agents.providers.reply import Attempt, Block, Reply
from lunaos.infra.observability import metrics, tracing
from runs.errors import OutputTooLong

FIRST_PAUSE_S = 0.2
MAX_PAUSE_S = 1.0  # a provider that asks for a longer wait is not retried: the client decides
_jitter = random.SystemRandom()

Validator = Callable[[Reply, Provider], None]


async def stream_answer(
    targets: list[Target], prompt: Prompt, attempts: list[Attempt], validate: Validator
) -> AsyncGenerator[Block, None]:
    """Stream from the first target that answers; append each request to `attempts`.

    Raises the last ProviderFailed before the first text or the one that broke the answer off, or OutputTooLong.
    """
    for index, target in enumerate(targets):
        is_last = index + 1 == len(targets)
        queue_s = settings.LLM_QUEUE_TIMEOUT_S if is_last else settings.LLM_QUEUE_TIMEOUT_WITH_FALLBACK_S
        try:
            async with aclosing(_stream_with_retries(target, prompt, attempts, validate, queue_s)) as blocks:
                async for block in blocks:
                    yield block
            return
        except TargetFailed as e:
            if is_last or not e.error.elsewhere:
                raise e.error from e


class TargetFailed(Exception):
    """All attempts at one target failed before the first text."""

    def __init__(self, error: ProviderFailed) -> None:
        super().__init__(str(error))
        self.error = error


async def _stream_with_retries(
    target: Target, prompt: Prompt, attempts: list[Attempt], validate: Validator, queue_s: float
) -> AsyncGenerator[Block, None]:
    for count in range(settings.LLM_RETRIES + 1):
        attempt = Attempt(target)
        attempts.append(attempt)
        try:
            async with aclosing(_stream_in_span(attempt, prompt, queue_s)) as blocks:
                async for block in blocks:
                    yield block
            validate(attempt.reply, target.provider)
            return
        except OutputTooLong as e:
            attempt.error = e
            raise
        except ProviderFailed as e:
            attempt.error = e
            metrics.PROVIDER_FAILURES.labels(target.provider.name, e.code).inc()
            if attempt.reply.has_text:
                raise
            pause_s = max(FIRST_PAUSE_S * 2**count * _jitter.uniform(0.5, 1.5), e.stated_wait_s or 0)
            if not e.retryable or count == settings.LLM_RETRIES or pause_s > MAX_PAUSE_S:
                raise TargetFailed(e) from e
            await asyncio.sleep(pause_s)


async def _stream_in_span(attempt: Attempt, prompt: Prompt, queue_s: float) -> AsyncGenerator[Block, None]:
    # Trace a request as its own span, with token counts and without any text.
    target, counts = attempt.target, attempt.reply.counts
    span_attributes = {"gen_ai.operation.name": "chat", "gen_ai.provider.name": target.provider.name}
    span_attributes["gen_ai.request.model"] = target.model
    with tracing.span(f"chat {target.model}", span_attributes, kind="client", current=False) as note:
        async with aclosing(stream(attempt, prompt, queue_s=queue_s)) as blocks:
            async for block in blocks:
                yield block
        if counts.input and counts.output:
            note({"gen_ai.usage.input_tokens": counts.input, "gen_ai.usage.output_tokens": counts.output})
