"""Cost of a run."""

from decimal import Decimal

import pytest

from agents.providers import prices
from agents.providers.prices import Cost
from runs.metering.tokens import TokenUsage


@pytest.mark.parametrize(
    ("provider", "model"),
    [
        ("deepseek", "deepseek-chat"),
        ("deepseek", "deepseek-reasoner"),
        ("anthropic", "claude-sonnet-4-20250514"),
        ("openai", "gpt-4o"),
        ("openai", "gpt-4o-mini"),
    ],
)
def test_every_model_of_the_contract_has_a_price(provider: str, model: str) -> None:
    cost = prices.cost(provider, model, TokenUsage(1000, 1000))
    assert cost.known and cost.usd > 0


def test_a_known_price() -> None:
    """GPT-4o: $2.50 a million tokens in, $10 out (OpenAI's price list)."""
    assert prices.cost("openai", "gpt-4o", TokenUsage(1_000_000, 100_000)) == Cost(Decimal("3.5"))


def test_cached_input_is_cheaper() -> None:
    """GPT-4o: $1.25 a million cached tokens (OpenAI's price list)."""
    cost = prices.cost("openai", "gpt-4o", TokenUsage(1_000_000, cache_read=990_000))
    assert cost == Cost(Decimal("1.2625"))


def test_the_local_model_costs_nothing() -> None:
    assert prices.cost("local", "smollm2-135m-instruct", TokenUsage(10**6, 10**6)) == Cost()


def test_the_cost_of_a_model_without_a_price_is_not_known() -> None:
    cost = prices.cost("openai", "gpt-of-2099", TokenUsage(10**6, 10**6))
    assert cost == Cost(known=False)
    assert cost.as_json() == {"cost": "$0.0000", "costKnown": False}
    assert Cost().as_json() == {"cost": "$0.0000"}


@pytest.mark.parametrize(
    ("amount", "text"), [("0", "$0.0000"), ("0.0003", "$0.0003"), ("1.23456", "$1.2346"), ("0.00002", "$0.000020")]
)
def test_dollars(amount: str, text: str) -> None:
    assert prices.format_usd(Decimal(amount)) == text
