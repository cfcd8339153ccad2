"""Money in words: an amount with its currency."""

# Currencies whose smallest unit is the unit itself; Stripe counts all others in hundredths.
WITHOUT_CENTS = frozenset(
    ("bif", "clp", "djf", "gnf", "jpy", "kmf", "krw", "mga", "pyg", "rwf", "ugx", "vnd", "vuv", "xaf", "xof", "xpf")
)


def format_amount(amount: int, currency: str) -> str:
    """Format an amount in a currency's smallest unit, such as 1,290.00 USD."""
    if currency.lower() in WITHOUT_CENTS:
        return f"{amount:,} {currency.upper()}"
    return f"{amount / 100:,.2f} {currency.upper()}"
