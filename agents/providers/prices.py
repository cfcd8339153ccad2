"""What a run costs, by the table inside the genai-prices package."""

from decimal import Decimal

from genai_prices import Usage, calc_price

from agents.providers import LOCAL


def cost_usd(provider: str, model: str, *, input_tokens: int, output_tokens: int) -> Decimal:
    """The price of a run; zero for the embedded model and for one the table does not know."""
    if provider == LOCAL:
        return Decimal(0)
    usage = Usage(input_tokens=input_tokens, output_tokens=output_tokens)
    try:
        return calc_price(usage, model_ref=model, provider_id=provider).total_price
    except LookupError:
        return Decimal(0)


def dollars(amount: Decimal) -> str:
    """`$0.0003`; six places where four would show nothing."""
    return f"${amount:.4f}" if amount == 0 or amount >= Decimal("0.0001") else f"${amount:.6f}"
