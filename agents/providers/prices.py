"""What a run costs and a model holds, by the table inside the genai-prices package."""

from decimal import Decimal
from typing import TYPE_CHECKING

from agents.providers import LOCAL
from lunaos import deferred

if TYPE_CHECKING:
    import genai_prices
    from genai_prices import data_snapshot
else:
    genai_prices, data_snapshot = deferred.Module("genai_prices"), deferred.Module("genai_prices.data_snapshot")

LOCAL_WINDOW = 8_192  # of the embedded model; `lunaos.embedded.llama` serves no more
UNKNOWN_WINDOW = 32_768  # what a model of today holds at least


def cost_usd(provider: str, model: str, *, input_tokens: int, output_tokens: int) -> Decimal:
    """The price of a run; zero for the embedded model and for one the table does not know."""
    if provider == LOCAL:
        return Decimal(0)
    usage = genai_prices.Usage(input_tokens=input_tokens, output_tokens=output_tokens)
    try:
        return genai_prices.calc_price(usage, model_ref=model, provider_id=provider).total_price
    except LookupError:
        return Decimal(0)


def context_window(provider: str, model: str) -> int:
    """Tokens that prompt and answer may have together; a careful guess for a model the table does not know."""
    if provider == LOCAL:
        return LOCAL_WINDOW
    try:
        found = data_snapshot.get_snapshot().find_provider_model(model, None, provider, None)[1]
    except LookupError:
        return UNKNOWN_WINDOW
    return found.context_window or UNKNOWN_WINDOW


def dollars(amount: Decimal) -> str:
    """`$0.0003`; six places where four would show nothing."""
    return f"${amount:.4f}" if amount == 0 or amount >= Decimal("0.0001") else f"${amount:.6f}"
