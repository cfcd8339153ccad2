"""Rows as CSV (RFC 4180), however many: piece by piece, so that a download holds neither memory nor a connection."""

import csv
import io
from collections.abc import AsyncIterator, Iterable, Sequence
from datetime import date
from typing import Any

import orjson
from django.db.models import Q, QuerySet

from lunaos.infra import database
from lunaos.infra.postgresql import limits

BATCH_ROWS = 2000  # rows
# A spreadsheet would execute a cell that begins so (OWASP, CSV Injection); the last four are the wide forms of Asia.
FORMULA_PREFIXES = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")


async def stream(rows: QuerySet[Any], columns: Sequence[str], order: Sequence[str]) -> AsyncIterator[str]:
    """Pieces of the file; each is a query of its own that goes on behind the last row of the one before.

    A cursor of the database would hold a connection and a snapshot for as long as the slowest client reads.

    Args:
        columns: names as `values_list` takes them; nothing else is read.
        order: columns, `-` before those that descend, that are never NULL and together tell any two rows apart.
    """
    yield _format_rows([[name.replace("__", "_") for name in columns]])
    last: Sequence[Any] = ()
    while True:
        piece, last = await database.call(_read_batch, rows, columns, order, last)
        if not piece:
            return
        yield piece


def format_cell(value: Any) -> str:
    """A value as programs read it, which a spreadsheet takes for text and never for a formula."""
    match value:
        case None:
            return ""
        case bool():
            return str(value).lower()
        case date():
            return value.isoformat()
        case dict():
            return orjson.dumps(value).decode()
        case list():
            return format_cell(" ".join(map(str, value)))
        case str() if value.startswith(FORMULA_PREFIXES):
            return f"'{value}"
    return str(value)


def _read_batch(
    rows: QuerySet[Any], columns: Sequence[str], order: Sequence[str], last: Sequence[Any]
) -> tuple[str, Sequence[Any]]:
    """The rows behind the last one as text, and the new last one; in a thread, since writing them takes a while."""
    found = rows.filter(_after(order, last)) if last else rows
    names = [name.removeprefix("-") for name in order]
    with limits.within(limits.long()):
        batch = list(found.order_by(*order).values_list(*columns, *names)[:BATCH_ROWS])
    text = _format_rows([map(format_cell, row[: len(columns)]) for row in batch])
    return text, batch[-1][len(columns) :] if batch else ()


def _after(order: Sequence[str], last: Sequence[Any]) -> Q:
    """Rows that come later; said so that an index of the first column finds where they begin."""
    name, way = order[0].removeprefix("-"), "lt" if order[0].startswith("-") else "gt"
    beyond = Q((f"{name}__{way}", last[0]))
    if len(order) == 1:
        return beyond
    return Q((f"{name}__{way}e", last[0])) & (beyond | _after(order[1:], last[1:]))


def _format_rows(rows: Iterable[Iterable[str]]) -> str:
    text = io.StringIO()
    csv.writer(text, quoting=csv.QUOTE_ALL).writerows(rows)  # `;` separates cells where a comma is the decimal point
    return text.getvalue()
