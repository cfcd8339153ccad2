"""Number formats of the admin's pages."""

from django import template

register = template.Library()
UNITS = ((1e9, "B"), (1e6, "M"), (1e4, "k"))  # numbers of four digits are not abbreviated


@register.filter
def format_figure(value: float | None, unit: str = "count") -> str:
    """Format a figure such as 12.3k, 98.7 %, $0.42 or 350 ms; None as a dash."""
    if value is None:
        return "-"
    return {"share": _share, "usd": _usd, "ms": _duration}.get(unit, _count)(float(value))


@register.filter
def format_change(value: float | None, unit: str = "count") -> str:
    """Format a change with its sign; a share's change in points."""
    if value is None:
        return "nothing before"
    if round(value, 3) == 0:
        return "unchanged"
    return f"{value * 100:+.1f} {'points' if unit == 'share' else '%'}"


@register.filter
def series_class(name: str, names: list[str]) -> str:
    """Return the CSS class of a series: by its name, else by its position."""
    known = ("succeeded", "failed", "interrupted", "cancelled", "unfinished")
    # A status keeps its colour in every chart; providers take colours in order.
    return f"is-{name}" if name in known else f"series-{names.index(name) % 6}"


def _count(value: float) -> str:
    for step, letter in UNITS:
        if abs(value) >= step:
            return f"{value / (1e3 if letter == 'k' else step):.1f}{letter}"
    return f"{value:,.0f}" if value == round(value) else f"{value:,.1f}"


def _share(value: float) -> str:
    return f"{value * 100:.1f} %"


def _usd(value: float) -> str:
    if 0 < value < 0.0001:
        return "< $0.0001"
    if 0 < value < 1:
        return f"${value:.4f}".rstrip("0")
    return f"${value:,.2f}"


def _duration(value: float) -> str:
    return f"{value / 1000:.1f} s" if value >= 1000 else f"{value:.0f} ms"
