"""Tables of the newest rows of a kind, on the pages of users and API keys."""

from dataclasses import dataclass
from typing import Any

from django.urls import reverse
from django.utils.formats import date_format

ROWS_PER_TABLE = 10  # of each kind; the linked lists have all rows


@dataclass(frozen=True, slots=True)
class RecentTable:
    title: str
    columns: tuple[str, ...]
    rows: list[tuple[Any, ...]]
    # URL of the complete list.
    more: str = ""
    # Whether the table takes the page's width; on a phone its second cell has a line of its own.
    is_wide: bool = False


def short_time(moment: Any) -> str:
    """Return a time that does not wrap."""
    return date_format(moment, "M j, H:i").replace(" ", "\N{NO-BREAK SPACE}") if moment else "never"


def list_url(page: str, **filters: Any) -> str:
    return reverse(f"admin:{page}_changelist", query=filters)
