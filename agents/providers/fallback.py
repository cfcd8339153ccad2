"""Trying again, and trying elsewhere: both before the first byte of the answer only."""

import asyncio
import random
from collections.abc import AsyncGenerator
from contextlib import aclosing

from django.conf import settings

from agents.providers import Target
from agents.providers.errors import ProviderFailed
from agents.providers.openai_compatible import Block, Prompt, stream
from lunaos import metrics, tracing

FIRST_PAUSE_S = 0.2
_jitter = random.SystemRandom()


async def answer(targets: list[Target], prompt: Prompt) -> AsyncGenerator[tuple[Target, Block], None]:
    """Stream from the first target that answers.

    Args:
        targets: the one asked for, then those to fall back on; at least one.

    Raises:
        ProviderFailed: the last error before the first byte, or whatever broke the answer off after it.
    """
    for index, target in enumerate(targets):
        try:
            async with aclosing(_persistently(target, prompt)) as blocks:
                async for block in blocks:
                    yield target, block
            return
        except NothingCame as e:
            if index + 1 == len(targets) or not e.error.elsewhere:
                raise e.error from e


class NothingCame(Exception):
    """All attempts failed before the first byte."""

    def __init__(self, error: ProviderFailed) -> None:
        super().__init__(str(error))
        self.error = error


async def _persistently(target: Target, prompt: Prompt) -> AsyncGenerator[Block, None]:
    for attempt in range(settings.LLM_RETRIES + 1):
        came = False
        try:
            async with aclosing(_traced(target, prompt)) as blocks:
                async for block in blocks:
                    came = True
                    yield block
            return
        except ProviderFailed as e:
            metrics.PROVIDER_FAILURES.labels(target.provider.name, e.code).inc()
            if came:
                raise
            if not e.retryable or attempt == settings.LLM_RETRIES:
                raise NothingCame(e) from e
            await asyncio.sleep(FIRST_PAUSE_S * 2**attempt * _jitter.uniform(0.5, 1.5))


async def _traced(target: Target, prompt: Prompt) -> AsyncGenerator[Block, None]:
    """Each request to a provider is a span of its own, with what was counted and nothing that was said."""
    asked = {"gen_ai.operation.name": "chat", "gen_ai.provider.name": target.provider.name}
    asked["gen_ai.request.model"] = target.model
    with tracing.span(f"chat {target.model}", asked, kind="client", current=False) as note:
        async with aclosing(stream(target, prompt)) as blocks:
            async for block in blocks:
                if block.tokens:
                    counts = zip(("gen_ai.usage.input_tokens", "gen_ai.usage.output_tokens"), block.tokens, strict=True)
                    note(dict(counts))
                yield block
