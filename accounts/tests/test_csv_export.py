"""CSV export: rows in order, in batches, and no cell is a formula."""

import asyncio
import csv
import io
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from accounts.models import User
from accounts.staff import csv_export

NEWEST_FIRST = ("-created_at", "-pk")


async def read(pieces: AsyncIterator[str]) -> str:
    return "".join([piece async for piece in pieces])


def table(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text)))


def lines(order: tuple[str, ...] = NEWEST_FIRST) -> AsyncIterator[str]:
    return csv_export.stream(User.objects.all(), ("email", "name"), order)


@pytest.fixture
def users(make_user: Any) -> list[Any]:
    """Five, of whom two were made at the same moment."""
    made = [make_user(f"user{n}") for n in range(5)]
    for n, user in enumerate(made):
        User.objects.filter(pk=user.pk).update(created_at=datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=n // 2))
    return made


@pytest.mark.parametrize("order", [NEWEST_FIRST, ("created_at", "-pk"), ("pk",)])
def test_it_works(users: list[Any], monkeypatch: pytest.MonkeyPatch, order: tuple[str, ...]) -> None:
    monkeypatch.setattr(csv_export, "BATCH_ROWS", 1)
    text = asyncio.run(read(lines(order)))
    in_order = list(User.objects.order_by(*order).values_list("email", "name"))
    assert table(text) == [["email", "name"], *map(list, in_order)]
    assert text.count("\r\n") == 6


def test_a_batch_is_sent_before_the_next_is_read(users: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_export, "BATCH_ROWS", 2)

    async def read_with_care() -> list[str]:
        pieces = lines()
        first = [await anext(pieces), await anext(pieces)]
        await User.objects.filter(pk=users[0].pk).adelete()  # the very last one
        return [*first, await read(pieces)]

    head, piece, rest = asyncio.run(read_with_care())
    assert (len(table(head)), len(table(piece)), len(table(rest))) == (1, 2, 2)
    assert users[0].email not in rest


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\uff1d1"])
def test_no_text_is_a_formula(text: str) -> None:
    assert csv_export.format_cell(text) == f"'{text}" and csv_export.format_cell([text, "b"]).startswith("'")


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (None, ""),
        (True, "true"),
        (-3, "-3"),
        (Decimal("-0.5"), "-0.5"),
        (date(2026, 1, 2), "2026-01-02"),
        (datetime(2026, 1, 2, tzinfo=UTC), "2026-01-02T00:00:00+00:00"),
        (["a", "b"], "a b"),
        ({"a": 1}, '{"a":1}'),
        ("Zoë, “x”", "Zoë, “x”"),
    ],
)
def test_values(value: Any, written: str) -> None:
    assert csv_export.format_cell(value) == written


@pytest.mark.parametrize("name", ["one;two", "one;=1+1", "", 'a "quoted" one', "one\ttwo"])
def test_every_cell_is_quoted(make_user: Any, name: str) -> None:
    """A spreadsheet splits unquoted cells at `;` where that is the separator of its region."""
    user = make_user()
    User.objects.filter(pk=user.pk).update(name=name)
    header, row, end = asyncio.run(read(lines())).split("\r\n")
    quoted = name.replace('"', '""')
    assert (header, row, end) == ('"email","name"', f'"{user.email}","{quoted}"', "")
