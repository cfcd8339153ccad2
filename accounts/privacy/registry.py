"""The personal data of a user: each app is one data source (settings.PRIVACY_DATA_SOURCES)."""

# To add a data source, write `<app>/privacy.py` with the functions of `DataSource` and name the module in
# PRIVACY_DATA_SOURCES. Deletion goes through the list in its order: billing comes first, because it ends
# subscriptions; accounts come last, because all rows of other apps refer to the user.

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
MAX_BATCH_ROWS, MAX_BATCH_BYTES = 20, 2**20  # for rows with long texts


class DataSource(Protocol):
    """Module of an app with its part of a user's data."""

    def export(self, user: User) -> Iterator[tuple[str, Row | Iterable[Row]]]:
        """Yield names, each with one object or with rows that are read while they are sent."""
        # A member of a row may be an iterator, which is sent as an array. The caller may resume in a different thread
        # each time, so keep no database cursor open.

    def prepare_deletion(self, user: User) -> None:
        """End work outside the database, such as runs and subscriptions, of a closed account."""
        # If this raises, the deletion is tried again later.

    def revoke_access(self, user: User) -> None:
        """End all access, because a stranger may have created the account with another person's address."""

    def delete(self, user: User) -> None:
        """Delete the user's rows, inside the one transaction of the deletion."""
        # No request can add rows meanwhile.


def data_sources() -> list[DataSource]:
    return [cast(DataSource, import_module(name)) for name in settings.PRIVACY_DATA_SOURCES]


def export(user: User) -> Iterator[tuple[str, Row | Iterable[Row]]]:
    """Yield all data of a user, the account first."""
    for part in reversed(data_sources()):
        yield from part.export(user)


def in_pages(rows: QuerySet[ModelT], at_once: int = PAGE_ROWS) -> Iterator[list[ModelT]]:
    """Yield pages of rows in the order of their primary keys, with one query per page."""
    rows = rows.order_by("pk")
    page = list(rows[:at_once])
    while page:
        yield page
        page = list(rows.filter(pk__gt=page[-1].pk)[:at_once])


def in_batches(rows: Iterable[RowT], bytes_of: Callable[[RowT], int]) -> Iterator[list[RowT]]:
    """Divide rows into batches of at most MAX_BATCH_ROWS and MAX_BATCH_BYTES, or one longer row."""
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
    """Return a row with camelCase names, except the columns `without`, which mean nothing to a user."""
    names = [field.attname for field in model._meta.concrete_fields if field.attname not in without]
    return {_to_camel_case(name): getattr(model, name) for name in names}


def _to_camel_case(name: str) -> str:
    return re.sub("_([a-z0-9])", lambda match: match[1].upper(), name)
