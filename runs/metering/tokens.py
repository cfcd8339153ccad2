"""Tokens of a run: the provider's own count, or an estimate from the text."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any, Protocol

# English and code come to about 4 characters a token (OpenAI's rule of thumb), Chinese to about 0.6 tokens a character
# (DeepSeek's), emoji to one or two. The length in UTF-8 weighs 1, 3 and 4 bytes accordingly.
UTF8_BYTES_PER_TOKEN = 4


class TokenColumns(Protocol):
    """A row with the six columns of `TokenUsage`."""

    input_tokens: int
    output_tokens: int
    reasoning_tokens: int
    cache_read_tokens: int
    cache_write_tokens: int
    tokens_estimated: bool


@dataclass(frozen=True, slots=True)
class TokenUsage:
    """Tokens of one answer, or the sum of several."""

    input: int = 0  # of the prompt, including tokens read from and written to the provider's cache
    output: int = 0  # of the answer, including reasoning
    reasoning: int = 0  # of the output, tokens of the model's reasoning
    cache_read: int = 0  # of the input, tokens read from the provider's cache
    cache_write: int = 0  # of the input, tokens written to the provider's cache
    estimated: bool = False  # whether input or output is our estimate instead of the provider's count

    def __add__(self, other: TokenUsage) -> TokenUsage:
        sums = {each.name: getattr(self, each.name) + getattr(other, each.name) for each in fields(self)}
        return TokenUsage(**{**sums, "estimated": self.estimated or other.estimated})

    @classmethod
    def from_row(cls, row: TokenColumns) -> TokenUsage:
        return cls(
            input=row.input_tokens,
            output=row.output_tokens,
            reasoning=row.reasoning_tokens,
            cache_read=row.cache_read_tokens,
            cache_write=row.cache_write_tokens,
            estimated=row.tokens_estimated,
        )

    @property
    def columns(self) -> dict[str, int | bool]:
        # Keys are columns of `Run` and `RunStep`.
        return {
            "input_tokens": self.input,
            "output_tokens": self.output,
            "reasoning_tokens": self.reasoning,
            "cache_read_tokens": self.cache_read,
            "cache_write_tokens": self.cache_write,
            "tokens_estimated": self.estimated,
        }

    @classmethod
    def from_json(cls, members: dict[str, Any]) -> TokenUsage:
        """Read the result of `as_json`; an older release wrote fewer members."""
        return cls(
            input=members.get("input", 0),
            output=members.get("output", 0),
            reasoning=members.get("reasoning", 0),
            cache_read=members.get("cacheRead", 0),
            cache_write=members.get("cacheWrite", 0),
            estimated=members.get("estimated", False),
        )

    def as_json(self) -> dict[str, int | bool]:
        """Return the `tokens` member of events and answers."""
        return {
            "input": self.input,
            "output": self.output,
            "reasoning": self.reasoning,
            "cacheRead": self.cache_read,
            "cacheWrite": self.cache_write,
            "estimated": self.estimated,
        }


def estimate(text: str) -> int:
    """Return the estimated tokens of a text, rounded up."""
    return estimate_from_bytes(len(text.encode("utf-8", "replace")))


def estimate_from_bytes(count: int) -> int:
    return math.ceil(count / UTF8_BYTES_PER_TOKEN)
