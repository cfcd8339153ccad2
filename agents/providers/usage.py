"""Parser of reported token counts, in the spellings of OpenAI, DeepSeek and Anthropic."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from runs.metering.tokens import TokenUsage

MAX_REPORTED_TOKENS = 20_000_000  # twice the largest window; higher counts are errors
MAX_DIGITS = 12

INPUT = ("prompt_tokens", "input_tokens")
OUTPUT = ("completion_tokens", "output_tokens")
CACHE_READ = ("prompt_cache_hit_tokens", "cache_read_input_tokens", "cached_tokens", "cache_read_tokens")
CACHE_WRITE = ("cache_creation_input_tokens", "cache_write_tokens", "cache_creation_tokens")
REASONING = ("reasoning_tokens",)
INPUT_DETAILS = ("prompt_tokens_details", "input_tokens_details")
OUTPUT_DETAILS = ("completion_tokens_details", "output_tokens_details")
# Anthropic's `input_tokens` exclude these; OpenAI's `prompt_tokens` include cached tokens.
EXCLUDED_FROM_INPUT = ("cache_read_input_tokens", "cache_creation_input_tokens")


@dataclass(slots=True)
class TokenCounts:
    """Token counts reported so far; None for a count that was not reported."""

    input: int | None = None
    output: int | None = None
    reasoning: int | None = None
    cache_read: int | None = None
    cache_write: int | None = None

    def update(self, later: TokenCounts) -> None:
        """Merge a later report; a zero does not replace a count."""
        for each in fields(self):
            count = getattr(later, each.name)
            if count or getattr(self, each.name) is None:
                setattr(self, each.name, count)

    def completed(self, *, input: int, output: int) -> TokenUsage:  # noqa: A002 - as the member is called
        """Return the counts, with estimates for missing ones."""
        # A reported zero beside an estimate above zero counts as missing.
        given, made = self.input or input, self.output or output
        return TokenUsage(
            input=given,
            output=made,
            reasoning=min(self.reasoning or 0, made),
            cache_read=min(self.cache_read or 0, given),
            cache_write=min(self.cache_write or 0, given),
            estimated=bool((input and not self.input) or (output and not self.output)),
        )


def parse_usage(usage: object) -> TokenCounts:
    """Parse a `usage` object; invalid values count as not reported."""
    if not isinstance(usage, Mapping):
        return TokenCounts()
    given_details, made_details = _details(usage, INPUT_DETAILS), _details(usage, OUTPUT_DETAILS)
    counts = TokenCounts(
        input=_first(usage, INPUT),
        output=_first(usage, OUTPUT),
        reasoning=_first(made_details, REASONING, usage),
        cache_read=_first(given_details, CACHE_READ, usage),
        cache_write=_first(given_details, CACHE_WRITE, usage),
    )
    _add_cache(counts, usage)
    _reconcile(counts, _count(usage.get("total_tokens")))
    return counts


def _add_cache(counts: TokenCounts, usage: Mapping[str, Any]) -> None:
    # Add cached tokens to the input if they are reported beside it, as Anthropic does.
    beside = sum(_count(usage.get(name)) or 0 for name in EXCLUDED_FROM_INPUT)
    if counts.input is not None and _count(usage.get("prompt_tokens")) is None:
        counts.input += beside
    hit, missed = (_count(usage.get(f"prompt_cache_{name}_tokens")) for name in ("hit", "miss"))
    if counts.input is None and hit is not None and missed is not None:  # DeepSeek reports the input in two parts
        counts.input = hit + missed


def _reconcile(counts: TokenCounts, total: int | None) -> None:
    # Assign the tokens that only the total includes: to the cache, else to the reasoning.
    # xAI and Gemini leave the reasoning out of `completion_tokens`; some servers report a total and no output.
    if total is None or counts.input is None:
        return
    if counts.output is None:
        counts.output = max(0, total - counts.input)
        return
    missing = total - counts.input - counts.output
    if missing <= 0:
        return
    if missing == (counts.cache_read or 0) + (counts.cache_write or 0) and missing != counts.reasoning:
        counts.input += missing
    else:
        counts.output += missing
        counts.reasoning = counts.reasoning or missing


def _details(usage: Mapping[str, Any], names: tuple[str, ...]) -> Mapping[str, Any]:
    return next((found for name in names if isinstance(found := usage.get(name), Mapping)), {})


def _first(details: Mapping[str, Any], names: tuple[str, ...], usage: Mapping[str, Any] | None = None) -> int | None:
    # Return the first positive count of the details, else of the usage; else a zero.
    found = [
        count for place in (details, usage or {}) for name in names if (count := _count(place.get(name))) is not None
    ]
    return next((count for count in found if count), found[0] if found else None)


def _count(value: object) -> int | None:
    if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) <= MAX_DIGITS:
        value = int(value)
    if isinstance(value, float) and math.isfinite(value) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if 0 <= value <= MAX_REPORTED_TOKENS else None
