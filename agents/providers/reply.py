"""Data of a provider's answer: per read, per answer and per request."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from agents.providers import Target
from agents.providers.errors import ProviderFailed, ProviderTimeout
from agents.providers.usage import TokenCounts
from lunaos.errors import LunaError
from runs.metering import tokens
from runs.metering.tokens import TokenUsage


@dataclass(slots=True)
class Reply:
    """The facts of one answer so far."""

    # `refusal` is the model's text in place of an answer. `reasoning_bytes` estimate tokens of reasoning. `objects`
    # counts data events but `[DONE]`; `ignored` counts those of them without known content, such as pings. After
    # `usage_after_finish` no event follows.

    has_text: bool = False
    has_delta: bool = False
    refusal: str = ""
    tool_calls: bool = False
    reasoning_bytes: int = 0
    finish_reason: str | None = None
    done: bool = False
    objects: int = 0
    ignored: int = 0
    counts: TokenCounts = field(default_factory=TokenCounts)
    usage_after_finish: bool = False

    @property
    def complete(self) -> bool:
        """Return whether the answer has signalled its end."""
        return self.done or self.finish_reason is not None

    @property
    def at_end(self) -> bool:
        """Return whether nothing more is expected."""
        return self.done or self.usage_after_finish


@dataclass(slots=True)
class Block:
    """Content of one read of the response; `reply` is the same object in each block."""

    # `queued`: a comment or ping arrived before the answer. `alive`: any event, comment or part of a JSON body
    # arrived.

    reply: Reply
    texts: list[str] = field(default_factory=list)
    thinking: bool = False
    queued: bool = False
    alive: bool = False


@dataclass(slots=True)
class Attempt:
    """One request to a provider."""

    # `sent`: the request has left this machine, so that the provider may have worked on it.

    target: Target
    reply: Reply = field(default_factory=Reply)
    sent: bool = False
    error: LunaError | None = None

    @property
    def may_be_billed(self) -> bool:
        """Return whether the provider may have worked on the request and may bill it."""
        reply, counts = self.reply, self.reply.counts
        if reply.has_delta or reply.finish_reason or counts.input or counts.output:
            return True
        is_silent = isinstance(self.error, ProviderTimeout) and self.error.provider_status is None
        return self.sent and (self.error is None or is_silent)

    def usage(self, *, prompt_tokens: int, text: str = "") -> TokenUsage:
        """Return the attempt's tokens: reported, else estimated."""
        if not self.may_be_billed:
            return TokenUsage()
        output = tokens.estimate(text) + tokens.estimate_from_bytes(self.reply.reasoning_bytes)
        return self.reply.counts.completed(input=prompt_tokens, output=output)

    def as_json(self) -> dict[str, Any]:
        failed = self.error if isinstance(self.error, ProviderFailed) else None
        return {
            "provider": self.target.provider.name,
            "model": self.target.model,
            "code": self.error.code if self.error else "",
            "status": failed.provider_status if failed else None,
            "said": failed.provider_message if failed else "",
        }
