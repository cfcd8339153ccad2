"""The audit trail as CSV (RFC 4180), however long it is."""

import csv
import io
from collections.abc import AsyncIterator

import orjson
from django.db.models import QuerySet

from accounts import audit
from accounts.models import AuditEvent
from lunaos import database

COLUMNS = ("id", "at", "action", "actor_id", "subject_id", "request_id", "address", "user_agent", "details", "hash")
AT_ONCE = 2000  # rows
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # a spreadsheet would execute a cell that begins so (OWASP, CSV Injection)


async def lines(rows: QuerySet[AuditEvent]) -> AsyncIterator[str]:
    """Pieces of the file, oldest row first; each piece is a query of its own, so no connection is held meanwhile."""
    yield _csv([COLUMNS])
    after = 0
    while batch := await database.call(_batch, rows, after):
        yield _csv([_cells(event) for event in batch])
        after = batch[-1].pk


def _batch(rows: QuerySet[AuditEvent], after: int) -> list[AuditEvent]:
    return list(rows.filter(pk__gt=after).select_related("origin").order_by("pk")[:AT_ONCE])


def _cells(event: AuditEvent) -> tuple[str, ...]:
    origin = audit.origin_of(event)
    agent = f"'{origin.user_agent}" if origin.user_agent.startswith(FORMULA) else origin.user_agent
    people = (str(event.actor_id or ""), str(event.subject_id or ""))
    details = orjson.dumps(event.details).decode()
    head = (str(event.pk), event.at.isoformat(), event.action, *people)
    return (*head, event.request_id, origin.address, agent, details, event.hash)


def _csv(rows: list[tuple[str, ...]]) -> str:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue()
