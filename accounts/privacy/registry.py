"""The personal data of a user: each app is one data source (settings.PRIVACY_DATA_SOURCES).

To add a data source, write `<app>/privacy.py` with the functions of `DataSource` and name the module in
PRIVACY_DATA_SOURCES. Deletion goes through the list in its order: billing comes first, because it ends subscriptions;
accounts come last, because all rows of other apps refer to the user.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from importlib import import_module
from typing import Any, Protocol, TypeVar, cast

from django.conf import settings
from django.db.models import Model, QuerySet

from accounts.models import User

Row = dict[str, Any]
ModelT = TypeVar("ModelT", bound=Model)
RowT = TypeVar("RowT")
PAGE_ROWS = 500
MAX_BATCH_ROWS, MAX_BATCH_BYTES = 20, 2**20  # of rows with long texts


class DataSource(Protocol):
    """A module with these functions."""

    def export(self, user: User) -> Iterator[tuple[str, Row | Iterable[Row]]]:
        """Names, and what there is under each: one object, or rows that are read as they are asked for.

        A member of a row may be an iterator: an array that is read as it is sent.

        Whoever asks may do so from a different thread each time, so no cursor may be kept open.
        """

    def prepare_deletion(self, user: User) -> None:
        """End what goes on outside the database, before anything is deleted. The user cannot sign in any more.

        May fail, and is called again then until it does not.
        """

    def revoke_access(self, user: User) -> None:
        """End what would give access to somebody who made the account with an address that is not theirs."""

    def delete(self, user: User) -> None:
        """Delete the rows, inside the one transaction in which all of them go; nobody can add any meanwhile."""


def data_sources() -> list[DataSource]:
    """In the order of deletion."""
    return [cast(DataSource, import_module(name)) for name in settings.PRIVACY_DATA_SOURCES]


def export(user: User) -> Iterator[tuple[str, Row | Iterable[Row]]]:
    """All that is known of a user, the account first."""
    for part in reversed(data_sources()):
        yield from part.export(user)


def in_pages(rows: QuerySet[ModelT], at_once: int = PAGE_ROWS) -> Iterator[list[ModelT]]:
    """Rows by primary key, a query a page."""
    rows = rows.order_by("pk")
    page = list(rows[:at_once])
    while page:
        yield page
        page = list(rows.filter(pk__gt=page[-1].pk)[:at_once])


def in_batches(rows: Iterable[RowT], bytes_of: Callable[[RowT], int]) -> Iterator[list[RowT]]:
    """Divide rows into batches of MAX_BATCH_ROWS and MAX_BATCH_BYTES at most; a row that is longer is a batch alone.

    Args:
        bytes_of: the bytes that a row's long texts take.
    """
    batch, size = list[RowT](), 0
    for row in rows:
        more = bytes_of(row)
        if batch and (len(batch) == MAX_BATCH_ROWS or size + more > MAX_BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(row)
        size += more
    if batch:
        yield batch


def to_row(model: Model, *without: str) -> Row:
    """A row as JSON names it; `without` are columns that mean nothing outside."""
    names = [field.attname for field in model._meta.concrete_fields if field.attname not in without]
    return {_to_camel_case(name): getattr(model, name) for name in names}


def _to_camel_case(name: str) -> str:
    return re.sub("_([a-z0-9])", lambda match: match[1].upper(), name)
