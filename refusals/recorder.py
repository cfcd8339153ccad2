"""Counts of refused requests: kept in memory, and written once a second (docs/adr/0046)."""

# A refusal changes an entry of this process's memory and waits for nothing. One task a process writes the entries of
# a second with one statement, so that a flood of refused requests holds neither threads nor connections. Counts that
# find no room, or no database, are dropped; a metric counts them.

import asyncio
import logging
import threading
from concurrent.futures import Future
from contextvars import Context
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid5

from django.db import connection

from lunaos.infra import client_info, database, event_loop
from lunaos.infra.observability import metrics
from refusals.models import MAX_MESSAGE_CHARACTERS

WRITE_INTERVAL_S = 1.0
WRITE_TIMEOUT_S = 2.0  # at the end of the process
MAX_ROWS_PER_MINUTE = 20_000  # of this process, about 10 MB of memory
MAX_ROWS_PER_OWNER = 20  # a minute: an owner with thousands of revoked keys must not fill the table
ROWS_PER_STATEMENT = 1_000
NAMESPACE = UUID("6d6d1c9e-3a5b-4d1c-8f0e-5b1f3a0c7e21")  # of the rows' ids
COLUMNS = {
    **{"id": "uuid", "minute": "timestamptz", "user_id": "uuid", "key_id": "uuid", "key_prefix": "text"},
    **{"code": "text", "count": "integer", "first_request_id": "text", "last_request_id": "text", "message": "text"},
}
# Rows in the order of their ids: processes that write the same rows cannot wait for each other in a circle. A user
# whose account is being deleted is skipped: the statement neither waits nor writes a row that the deletion would miss.
UPSERT = f"""
    INSERT INTO refusals_refusal AS known ({", ".join(COLUMNS)})
    SELECT new.* FROM unnest({", ".join(f"%({name})s::{kind}[]" for name, kind in COLUMNS.items())})
        AS new ({", ".join(COLUMNS)})
    JOIN accounts_user AS owner ON owner.id = new.user_id
    ORDER BY new.id
    FOR KEY SHARE OF owner SKIP LOCKED
    ON CONFLICT (id, minute) DO UPDATE SET
        count = known.count + EXCLUDED.count,
        last_request_id = EXCLUDED.last_request_id,
        message = EXCLUDED.message
"""  # noqa: S608 - constants
logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Entry:
    """A row that is not written yet; the names are the table's columns."""

    id: UUID
    minute: datetime
    user_id: UUID
    key_id: UUID | None
    key_prefix: str
    code: str
    count: int
    first_request_id: str
    last_request_id: str
    message: str


Place = tuple[UUID, UUID | None, str]  # owner, key and code

_lock = threading.Lock()
_entries: dict[tuple[Place, datetime], Entry] = {}
_minute = datetime.min.replace(tzinfo=UTC)  # of `_rows_of_owner`
_rows_of_owner: dict[UUID, set[Place]] = {}  # rows of this minute, also those that are written
_row_count = 0  # in `_rows_of_owner`
_writing: "Future[None] | None" = None
_is_scheduled = False


def count(*, user_id: UUID, key_id: UUID | None, key_prefix: str, code: str, message: str) -> None:
    """Count the current request as refused; return at once."""
    minute, request_id = datetime.now(UTC).replace(second=0, microsecond=0), client_info.request_id()
    place = (user_id, key_id, code)
    with _lock:
        entry = _entries.get((place, minute))
        if entry is None:
            if not _has_room(place, minute):
                metrics.REFUSALS_DROPPED.labels("memory").inc()
                return
            row_id = uuid5(NAMESPACE, f"{user_id} {key_id} {code} {minute:%Y%m%d%H%M}")
            entry = Entry(row_id, minute, user_id, key_id, key_prefix, code, 0, request_id, request_id, "")
            _entries[place, minute] = entry
        entry.count += 1
        entry.last_request_id, entry.message = request_id, message
        _schedule_write()


def _has_room(place: Place, minute: datetime) -> bool:
    # Return whether this minute may have a row for the place; the lock is held.
    global _minute, _row_count
    if minute != _minute:
        _minute, _row_count = minute, 0
        _rows_of_owner.clear()
    rows = _rows_of_owner.setdefault(place[0], set())
    if place in rows:
        return True
    if len(rows) >= MAX_ROWS_PER_OWNER or _row_count >= MAX_ROWS_PER_MINUTE:
        return False
    rows.add(place)
    _row_count += 1
    return True


def _schedule_write() -> None:
    # Start the task that writes each second, unless it runs; the lock is held.
    global _writing, _is_scheduled
    if _is_scheduled and _writing is not None and not _writing.done():
        return
    _is_scheduled = True
    # A context of its own keeps this request's id out of the task's log lines.
    _writing = Context().run(event_loop.submit, _write_each_second())


def write() -> None:
    """Write the counts of this process now."""
    _write(_take())


async def write_at_exit() -> None:
    """Write the counts of this process, within WRITE_TIMEOUT_S."""
    entries = _take()
    try:
        await asyncio.wait_for(database.call(_write, entries), WRITE_TIMEOUT_S)
    except TimeoutError:
        _drop(entries, "The database did not answer before the end of the process.")


async def _write_each_second() -> None:
    global _is_scheduled
    while True:
        await asyncio.sleep(WRITE_INTERVAL_S)
        with _lock:
            if not _entries:
                _is_scheduled = False
                return
        await database.call(write)


def _take() -> list[Entry]:
    with _lock:
        taken = list(_entries.values())
        _entries.clear()
    return sorted(taken, key=lambda entry: entry.id)


def _write(entries: list[Entry]) -> None:
    # Write rows; any error drops them, since no request waits for them.
    for start in range(0, len(entries), ROWS_PER_STATEMENT):
        rows = entries[start : start + ROWS_PER_STATEMENT]
        try:
            with connection.cursor() as cursor:
                cursor.execute(UPSERT, _parameters(rows))
        except Exception as e:
            _drop(rows, repr(e))


def _parameters(rows: list[Entry]) -> dict[str, list[Any]]:
    texts = [_storable(row.message) for row in rows]
    return {name: [getattr(row, name) for row in rows] for name in COLUMNS if name != "message"} | {"message": texts}


def _storable(text: str) -> str:
    return text.replace("\0", "").encode(errors="replace").decode()[:MAX_MESSAGE_CHARACTERS]


def _drop(rows: list[Entry], reason: str) -> None:
    refused = sum(row.count for row in rows)
    metrics.REFUSALS_DROPPED.labels("database").inc(refused)
    logger.warning("Counts of %d refused requests are dropped: %s", refused, reason)
