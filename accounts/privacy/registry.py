"""What is known of a user, part by part: each app knows its own (settings.PERSONAL_DATA).

How to add a part: write `<app>/personal.py` with the functions of `Part` and name it in PERSONAL_DATA, where deletion
goes from the first to the last. Accounts come last; who has a subscription to end comes first.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from importlib import import_module
from typing import Any, Protocol, TypeVar, cast

from django.conf import settings
from django.db.models import Model, QuerySet

from accounts.models import User

Row = dict[str, Any]
Rows = TypeVar("Rows", bound=Model)
Sized = TypeVar("Sized")
AT_ONCE = 500
MAX_BATCH_ROWS, MAX_BATCH_BYTES = 20, 2**20  # of rows with long texts


class Part(Protocol):
    """A module with these functions."""

    def export(self, user: User) -> Iterator[tuple[str, Row | Iterable[Row]]]:
        """Names, and what there is under each: one object, or rows that are read as they are asked for.

        A member of a row may be an iterator: an array that is read as it is sent.

        Whoever asks may do so from a different thread each time, so no cursor may be kept open.
        """

    def prepare(self, user: User) -> None:
        """End what goes on outside the database, before anything is deleted. The user cannot sign in any more.

        May fail, and is called again then until it does not.
        """

    def disown(self, user: User) -> None:
        """End what would give access to somebody who made the account with an address that is not theirs."""

    def erase(self, user: User) -> None:
        """Delete the rows, inside the one transaction in which all of them go; nobody can add any meanwhile."""


def all_parts() -> list[Part]:
    """In the order of deletion."""
    return [cast(Part, import_module(name)) for name in settings.PERSONAL_DATA]


def export(user: User) -> Iterator[tuple[str, Row | Iterable[Row]]]:
    """All that is known of a user, the account first."""
    for part in reversed(all_parts()):
        yield from part.export(user)


def in_pages(rows: QuerySet[Rows], at_once: int = AT_ONCE) -> Iterator[list[Rows]]:
    """Rows by primary key, a query a page."""
    rows = rows.order_by("pk")
    page = list(rows[:at_once])
    while page:
        yield page
        page = list(rows.filter(pk__gt=page[-1].pk)[:at_once])


def in_batches(rows: Iterable[Sized], bytes_of: Callable[[Sized], int]) -> Iterator[list[Sized]]:
    """Divide rows into batches of MAX_BATCH_ROWS and MAX_BATCH_BYTES at most; a row that is longer is a batch alone.

    Args:
        bytes_of: the bytes that a row's long texts take.
    """
    batch, size = list[Sized](), 0
    for row in rows:
        more = bytes_of(row)
        if batch and (len(batch) == MAX_BATCH_ROWS or size + more > MAX_BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(row)
        size += more
    if batch:
        yield batch


def columns(model: Model, *without: str) -> Row:
    """A row as JSON names it; `without` are columns that mean nothing outside."""
    names = [field.attname for field in model._meta.concrete_fields if field.attname not in without]
    return {_camel(name): getattr(model, name) for name in names}


def _camel(name: str) -> str:
    return re.sub("_([a-z0-9])", lambda match: match[1].upper(), name)
