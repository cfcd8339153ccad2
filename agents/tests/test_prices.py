"""What a run costs."""

from decimal import Decimal

import pytest

from agents.providers import prices


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
    assert prices.cost_usd(provider, model, input_tokens=1000, output_tokens=1000) > 0


def test_a_known_price() -> None:
    """GPT-4o: $2.50 a million tokens in, $10 out (OpenAI's price list)."""
    cost = prices.cost_usd("openai", "gpt-4o", input_tokens=1_000_000, output_tokens=100_000)
    assert cost == Decimal("3.5")


def test_the_local_and_unknown_models_cost_nothing() -> None:
    assert prices.cost_usd("local", "smollm2-135m-instruct", input_tokens=10**6, output_tokens=10**6) == 0
    assert prices.cost_usd("openai", "gpt-of-2099", input_tokens=10**6, output_tokens=10**6) == 0


@pytest.mark.parametrize(
    ("amount", "text"), [("0", "$0.0000"), ("0.0003", "$0.0003"), ("1.23456", "$1.2346"), ("0.00002", "$0.000020")]
)
def test_dollars(amount: str, text: str) -> None:
    assert prices.dollars(Decimal(amount)) == text
