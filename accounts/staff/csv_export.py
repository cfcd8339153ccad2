"""Streaming of rows as CSV (RFC 4180), in batches that hold neither memory nor a connection."""

import csv
import io
from collections.abc import AsyncIterator, Iterable, Sequence
from datetime import date
from typing import Any

import orjson
from django.db.models import Q, QuerySet

from lunaos.infra import database
from lunaos.infra.postgresql import limits

BATCH_ROWS = 2000
# A spreadsheet executes a cell with such a beginning (OWASP, CSV Injection); the last four are full-width forms.
FORMULA_PREFIXES = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")


async def stream(rows: QuerySet[Any], columns: Sequence[str], order: Sequence[str]) -> AsyncIterator[str]:
    """Yield the file in batches, each from a query that continues after the last row of the batch before."""
    # `order` names columns, with `-` for descending ones, that are never NULL and together are unique.
    # No cursor: it would hold a connection and a snapshot for as long as the slowest client reads.
    yield _format_rows([[name.replace("__", "_") for name in columns]])
    last: Sequence[Any] = ()
    while True:
        batch, last = await database.call(_read_batch, rows, columns, order, last)
        if not batch:
            return
        yield batch


def format_cell(value: Any) -> str:
    """Return a value as text that a spreadsheet never executes as a formula."""
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
    # Return the rows after `last` as text, and the new last row; blocks.
    found = rows.filter(_after(order, last)) if last else rows
    names = [name.removeprefix("-") for name in order]
    with limits.within(limits.long()):
        batch = list(found.order_by(*order).values_list(*columns, *names)[:BATCH_ROWS])
    text = _format_rows([map(format_cell, row[: len(columns)]) for row in batch])
    return text, batch[-1][len(columns) :] if batch else ()


def _after(order: Sequence[str], last: Sequence[Any]) -> Q:
    # Return a filter for later rows, in a form that can use an index of the first column.
    name, operator = order[0].removeprefix("-"), "lt" if order[0].startswith("-") else "gt"
    later = Q((f"{name}__{operator}", last[0]))
    if len(order) == 1:
        return later
    return Q((f"{name}__{operator}e", last[0])) & (later | _after(order[1:], last[1:]))


def _format_rows(rows: Iterable[Iterable[str]]) -> str:
    text = io.StringIO()
    csv.writer(text, quoting=csv.QUOTE_ALL).writerows(rows)  # `;` separates cells where a comma is the decimal point
    return text.getvalue()
