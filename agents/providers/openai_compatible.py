"""Streamed chat completions from servers that speak OpenAI's protocol."""

# The response is read in raw blocks: data that arrived together is decoded and forwarded together, which is twice as
# fast as the typed stream of `openai`'s client.

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from agents.providers import Target, connections, failures, parameter_support, template_markers
from agents.providers.answer_deadline import AnswerDeadline
from agents.providers.connections import ErrorResponse
from agents.providers.decoding import Decoder
from agents.providers.errors import ProviderFailed, ProviderTimeout
from agents.providers.reply import Attempt, Block

if TYPE_CHECKING:
    from agents.providers.bodies import Response

PATH = "/chat/completions"
MAX_FEED_BYTES = 65_536  # decoded at once; decompressed data may arrive in much larger pieces
MAX_TURN_S = 0.01  # after which other streams of the event loop get their turn


@dataclass(frozen=True, slots=True)
class Prompt:
    """Messages (`{"role", "content"}`) and parameters of a request."""

    # `max_tokens` limits the answer.

    messages: list[dict[str, str]]
    temperature: float
    max_tokens: int


async def stream(attempt: Attempt, prompt: Prompt, *, queue_s: float) -> AsyncGenerator[Block, None]:
    """Send the request and yield blocks of the answer; `attempt` collects its facts.

    `queue_s` limits the wait in the provider's queue. Raises ProviderFailed, or OutputTooLong for a long line.
    """
    target, patience = attempt.target, AnswerDeadline(queue_s)
    try:
        async with asyncio.timeout_at(patience.deadline):
            response = await _request(attempt, prompt)
        decoder = Decoder(target.provider, attempt.reply, response.headers)
        try:
            async for block in _blocks(response, decoder, patience):
                yield block
        finally:
            connections.close_response(response, complete=attempt.reply.at_end)
    except TimeoutError as e:
        raise ProviderTimeout(f"{target.provider.name} did not answer in time.") from e
    except ErrorResponse as e:
        details = failures.parse_error(e.body, e.status)
        raise failures.translate_refusal(target.provider, details, e.headers, model=target.model) from e
    except connections.connection_errors() as e:
        raise _broken(attempt, e) from e
    if decoder.error:
        raise decoder.error
    if not attempt.reply.complete:
        raise failures.incomplete_answer(target.provider)


async def _blocks(response: Response, decoder: Decoder, patience: AnswerDeadline) -> AsyncGenerator[Block, None]:
    # Yield blocks until the answer ends; a complete answer cannot fail any more.
    failure: Exception | None = None
    clock = asyncio.get_running_loop().time
    turn = clock()
    while not decoder.error and not decoder.reply.at_end:
        try:
            async with asyncio.timeout_at(patience.deadline):
                raw = await response.read()
        except connections.connection_errors() as e:
            failure = e
            break
        if not raw:
            break
        for start in range(0, len(raw), MAX_FEED_BYTES):
            # Buffered data is read without a wait, so without this sleep no other stream would run.
            if clock() - turn > MAX_TURN_S:
                await asyncio.sleep(0)
                turn = clock()
            block = decoder.feed(raw[start : start + MAX_FEED_BYTES])
            patience.renew(block)
            yield block
    yield decoder.close()
    if failure and not decoder.reply.complete:
        raise failure


# -- The request -------------------------------------------------------------------------------------------------------


async def _request(attempt: Attempt, prompt: Prompt) -> Response:
    # Send the request, and send it again without a parameter that the model rejects.
    base_url, model = attempt.target.provider.base_url, attempt.target.model
    names = parameter_support.unsupported_parameters(base_url, model)
    while True:
        try:
            response = await connections.post(attempt, PATH, _body(attempt.target, prompt, names))
        except ErrorResponse as e:
            details = failures.parse_error(e.body, e.status)
            fewer = (
                parameter_support.drop_parameter(names, details.parameter)
                if details.reason is failures.Reason.PARAMETER
                else None
            )
            if fewer is None:
                raise
            names = fewer
        else:
            parameter_support.remember(base_url, model, names)
            return response


def _body(target: Target, prompt: Prompt, without: frozenset[str]) -> dict[str, Any]:
    body = {
        "model": target.model,
        "messages": template_markers.escape_markers(target.provider, prompt.messages),
        "temperature": prompt.temperature,
        parameter_support.output_limit_parameter(without): target.output_limit(prompt.max_tokens),
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    return {name: value for name, value in body.items() if name not in without}


def _broken(attempt: Attempt, error: Exception) -> ProviderFailed:
    provider = attempt.target.provider
    if isinstance(error, connections.Unreachable) and not attempt.reply.objects:
        return failures.unreachable(provider)
    return failures.incomplete_answer(provider)
