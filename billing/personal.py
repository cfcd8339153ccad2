"""Billing's part of what is known of a user."""

from collections.abc import Iterable, Iterator

from accounts import parts
from accounts.models import User
from accounts.parts import Row
from billing.models import MonthlyUsage


def export(user: User) -> Iterator[tuple[str, Row | Iterable[Row]]]:
    months = MonthlyUsage.objects.filter(user=user).order_by("month")
    yield "usage", [parts.columns(month, "id", "user_id") for month in months]


def prepare(user: User) -> None:
    """Nothing goes on outside the database."""


def disown(user: User) -> None:
    """Nothing of it gives access."""


def erase(user: User) -> None:
    """The months go with the user's own row."""
