"""Prices and context windows of models, from the package genai-prices."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

from agents.providers import LOCAL
from lunaos.infra import lazy_imports
from runs.metering.tokens import TokenUsage

if TYPE_CHECKING:
    import genai_prices
    from genai_prices import data_snapshot
else:
    genai_prices, data_snapshot = (
        lazy_imports.LazyModule("genai_prices"),
        lazy_imports.LazyModule("genai_prices.data_snapshot"),
    )

LOCAL_CONTEXT_TOKENS = 8_192  # of the embedded model; `lunaos.embedded.llama` serves no more
DEFAULT_CONTEXT_TOKENS = 32_768  # the smallest window of today's models


@dataclass(frozen=True, slots=True)
class Cost:
    """A price in US dollars; too low if a model of it is not `known`."""

    usd: Decimal = Decimal(0)
    known: bool = True

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.usd + other.usd, self.known and other.known)

    def as_json(self) -> dict[str, str | bool]:
        """Return the members `cost` and, if the price is unknown, `costKnown`."""
        return {"cost": format_usd(self.usd), **({} if self.known else {"costKnown": False})}


def cost(provider: str, model: str, tokens: TokenUsage) -> Cost:
    """Return the price of an answer; the embedded model and zero tokens cost nothing."""
    if provider == LOCAL or not (tokens.input or tokens.output):
        return Cost()
    counted = genai_prices.Usage(
        input_tokens=tokens.input,
        output_tokens=tokens.output,
        cache_read_tokens=tokens.cache_read,
        cache_write_tokens=tokens.cache_write,
    )
    try:
        return Cost(genai_prices.calc_price(counted, model_ref=model, provider_id=provider).total_price)
    except LookupError:
        return Cost(known=False)


def context_window(provider: str, model: str) -> int:
    """Return the tokens of prompt and answer together, or DEFAULT_CONTEXT_TOKENS."""
    if provider == LOCAL:
        return LOCAL_CONTEXT_TOKENS
    try:
        found = data_snapshot.get_snapshot().find_provider_model(model, None, provider, None)[1]
    except LookupError:
        return DEFAULT_CONTEXT_TOKENS
    return found.context_window or DEFAULT_CONTEXT_TOKENS


def format_usd(amount: Decimal) -> str:
    """Format dollars as `$0.0003`, with six places for smaller amounts."""
    return f"${amount:.4f}" if amount == 0 or amount >= Decimal("0.0001") else f"${amount:.6f}"
