"""The audit trail: append-only rows, each with the hash of the row before it (docs/adr/0013)."""

# Equal rows within a minute become one row, and one summary with their count after the minute, so that repeated
# actions cannot fill the table. Rows name users by id and hold no personal data: address and user agent are in a
# second table, which the deletion of the account clears. The database numbers the rows, chains them, and refuses
# changes (accounts/migrations/0003_audit.py).

import hashlib
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from uuid import UUID

import orjson
from django.db import connection, transaction
from django.db.models import Q

from accounts.auditlog import alerts
from accounts.models import AuditEvent, AuditOrigin, AuditRepeat, User
from lunaos.infra import client_info
from lunaos.infra.client_info import NO_CLIENT, ClientInfo, customer_network

GENESIS_HASH = "0" * 64  # the previous hash of the first row
VERIFY_BATCH_ROWS = 2000
SUMMARISE_BATCH_ROWS = 500
REPEAT_WINDOW_S = 60


class Action(StrEnum):
    SIGNED_UP = "account.signed_up"
    LOGGED_IN = "account.logged_in"
    LOGIN_FAILED = "account.login_failed"
    LOCKED_OUT = "account.locked_out"
    UNLOCKED = "account.unlocked"
    DISABLED = "account.disabled"
    ENABLED = "account.enabled"
    VERIFICATION_REQUESTED = "account.verification_requested"
    PASSWORD_CHANGED = "account.password_changed"  # noqa: S105 - the name of an action
    PASSWORD_RESET_REQUESTED = "account.password_reset_requested"  # noqa: S105 - the name of an action
    PASSWORD_RESET = "account.password_reset"  # noqa: S105 - the name of an action
    EMAIL_VERIFIED = "account.email_verified"
    LOGGED_OUT = "account.logged_out"
    LOGGED_OUT_EVERYWHERE = "account.logged_out_everywhere"
    EXPORTED = "account.exported"
    DELETED = "account.deleted"
    SECOND_FACTOR_SET = "account.second_factor_set"
    SECOND_FACTOR_FAILED = "account.second_factor_failed"
    SECOND_FACTOR_RESET = "account.second_factor_reset"
    KEY_CREATED = "key.created"
    KEY_USED_FROM_NEW_ADDRESS = "key.used_from_new_address"
    KEY_REVOKED = "key.revoked"
    KEY_REPORTED_LEAKED = "key.reported_leaked"
    TIER_CHANGED = "tier.changed"
    TIER_GRANTED = "tier.granted"
    TIER_GRANT_ENDED = "tier.grant_ended"
    CHECKOUT_STARTED = "checkout.started"
    SUBSCRIPTION_CHANGED = "subscription.changed"
    SUBSCRIPTION_CANCEL_REQUESTED = "subscription.cancel_requested"
    SUBSCRIPTION_CHANGE_REQUESTED = "subscription.change_requested"
    SUBSCRIPTION_RESUMED = "subscription.resumed"
    PAYMENT_SUCCEEDED = "payment.succeeded"
    PAYMENT_FAILED = "payment.failed"
    PAYMENT_REFUNDED = "payment.refunded"
    REFUND_FAILED = "payment.refund_failed"
    DISPUTE_OPENED = "dispute.opened"
    DISPUTE_CLOSED = "dispute.closed"
    DISPUTE_WAIVED = "dispute.waived"
    BILLING_RECONCILED = "billing.reconciled"
    RUN_REFUSED = "run.refused"
    RUN_READ = "run.read_by_staff"
    RATE_EXCEEDED = "rate.exceeded"
    ADMIN_ADDED = "admin.added"
    ADMIN_CHANGED = "admin.changed"
    ADMIN_DELETED = "admin.deleted"
    ADMIN_WENT_BACK = "admin.went_back"
    ADMIN_EXPORTED = "admin.exported"
    AGENT_TRIED = "agent.tried"
    PROVIDER_KEY_SET = "provider_key.set"
    PROVIDER_KEY_REMOVED = "provider_key.removed"


# One statement writes a row together with its origin; a trigger sets number, time and hashes.
_INSERT_EVENT = """
    event AS (
        INSERT INTO accounts_auditevent (action, actor_id, subject_id, request_id, details, origin_digest)
        SELECT %(action)s, %(actor_id)s::uuid, %(subject_id)s::uuid, %(request_id)s, %(details)s::jsonb,
            %(origin_digest)s
        FROM seen WHERE repeats = 0
        RETURNING id
    )
    INSERT INTO accounts_auditorigin (event_id, address, user_agent, salt)
    SELECT id, %(address)s, %(user_agent)s, %(salt)s FROM event WHERE %(origin_digest)s <> ''
"""
INSERT_EVENT = f"WITH seen AS (SELECT 0 AS repeats), {_INSERT_EVENT}"
# If an equal row was written in the last minute, the statement only counts; `summarise` writes the count later.
_WINDOW_IS_OVER = "known.repeats = 0 AND known.ends_at <= now()"
INSERT_OR_COUNT = f"""
    WITH seen AS (
        INSERT INTO accounts_auditrepeat AS known (digest, ends_at, repeats, row)
        VALUES (%(digest)s, now() + make_interval(secs => {REPEAT_WINDOW_S}), 0, %(row)s::jsonb)
        ON CONFLICT (digest) DO UPDATE SET
            repeats = CASE WHEN {_WINDOW_IS_OVER} THEN 0 ELSE known.repeats + 1 END,
            ends_at = CASE WHEN {_WINDOW_IS_OVER} THEN EXCLUDED.ends_at ELSE known.ends_at END
        RETURNING repeats
    ), {_INSERT_EVENT}
"""  # noqa: S608 - constants
DELETE_DUE_REPEATS = """
    DELETE FROM accounts_auditrepeat WHERE digest IN (
        SELECT digest FROM accounts_auditrepeat WHERE ends_at <= now() ORDER BY ends_at LIMIT %(at_once)s
        FOR UPDATE SKIP LOCKED
    )
    RETURNING repeats, row
"""
# The input of a row's hash, as JSON, so that the boundaries between values are unambiguous.
CANONICAL = """
    jsonb_build_array(
        previous_hash, id, to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US'), action, actor_id, subject_id,
        request_id, details, origin_digest
    )::text
"""
SELECT_EVENTS = f"""
    SELECT id, previous_hash, hash, {CANONICAL} AS canonical, origin_digest, actor_id, subject_id,
        origin.salt, origin.address, origin.user_agent
    FROM accounts_auditevent LEFT JOIN accounts_auditorigin AS origin ON origin.event_id = id
    ORDER BY id
"""  # noqa: S608 - constants


@dataclass(frozen=True, slots=True)
class VerificationResult:
    """Intact rows up to the first broken one, the last intact row's hash, and the fault."""

    rows: int
    head: str
    broken: int | None = None
    reason: str = ""


def record_on_commit(action: Action, *, actor: User | None = None, subject: User | None = None, **details: Any) -> None:
    """Write an audit row after the current transaction has committed; never raises."""
    # A rollback discards the row. If the row cannot be written, the operators get an alert and the request goes on.
    # Details are ids, names, counts and codes: no secrets and no personal data.
    row = _build_row(action, actor, subject, details)
    transaction.on_commit(lambda: _insert_or_count({**row, **_repeat_columns(row)}))


def record_in_transaction(action: Action, *, subject: User, **details: Any) -> None:
    """Write an audit row as a part of the current transaction, which fails without the row."""
    # Call this near the end of the transaction: rows of all other requests wait until the transaction ends.
    with connection.cursor() as cursor:
        cursor.execute(INSERT_EVENT, _build_row(action, None, subject, details))


def summarise() -> int:
    """Write a summary for each repeated row whose minute has passed; return their number."""
    written = 0
    while due := _summarise_batch():
        written += sum(repeats > 0 for repeats in due)
    return written


@transaction.atomic
def _summarise_batch() -> list[int]:
    parameters: dict[str, Any] = {"at_once": SUMMARISE_BATCH_ROWS}
    with connection.cursor() as cursor:
        due = cursor.execute(DELETE_DUE_REPEATS, parameters).fetchall()
        for repeats, row in due:
            if repeats:
                cursor.execute(
                    INSERT_EVENT, _build_summary(repeats, orjson.loads(row) if isinstance(row, str) else row)
                )
    return [repeats for repeats, _ in due]


def _build_summary(repeats: int, row: dict[str, Any]) -> dict[str, Any]:
    details = {**orjson.loads(row["details"]), "repeated": repeats}
    source = _origin_columns(ClientInfo(row["address"], row["user_agent"]))
    return {**row, "details": orjson.dumps(details).decode(), **source}


def _repeat_columns(row: dict[str, Any]) -> dict[str, str]:
    # Return the digest that equal rows share, and the row for its summary.
    # Without request id and user agent: a client can change both at each repetition.
    same = [str(row[name]) for name in ("action", "actor_id", "subject_id", "details")]
    kept = {name: value for name, value in row.items() if name not in ("salt", "origin_digest")}
    return {"digest": _digest(*same, customer_network(row["address"])), "row": orjson.dumps(kept, default=str).decode()}


def _build_row(action: Action, actor: User | None, subject: User | None, details: dict[str, Any]) -> dict[str, Any]:
    return {
        "action": str(action),
        "actor_id": actor.pk if actor else None,
        "subject_id": subject.pk if subject else None,
        "request_id": client_info.request_id(),
        "details": orjson.dumps(details, default=str).decode(),
        **_origin_columns(client_info.current()),
    }


def client_info_of(event: AuditEvent) -> ClientInfo:
    """Return the client of an action; empty without a request or after the account's deletion."""
    kept = getattr(event, "origin", None)
    return ClientInfo(kept.address, kept.user_agent) if kept else NO_CLIENT


def client_info_visible_to(event: AuditEvent, user_id: UUID | None) -> ClientInfo:
    """Return the client of an action as a user may see it: empty if another user acted."""
    return client_info_of(event) if event.actor_id in (None, user_id) else NO_CLIENT


def search_filter(term: str) -> Q:
    """Return a filter for rows by a user's id or e-mail address, a request's id, or a client's address."""
    if "@" in term:
        users = User.objects.filter(email=term.lower()).values("pk")
        return Q(actor_id__in=users) | Q(subject_id__in=users)
    try:
        user_id = UUID(term)
    except ValueError:
        return Q(request_id=term) | Q(origin__address=term)
    return Q(actor_id=user_id) | Q(subject_id=user_id) | Q(request_id=term)


def anonymise(user_id: UUID) -> None:
    """Delete address and user agent of a deleted user's rows, which still verify."""
    events = AuditEvent.objects.filter(actor_id=user_id) | AuditEvent.objects.filter(subject_id=user_id)
    AuditOrigin.objects.filter(event__in=events).delete()
    repeated = AuditRepeat.objects.filter(Q(row__actor_id=str(user_id)) | Q(row__subject_id=str(user_id)))
    for each in repeated:  # rows of the last minute
        AuditRepeat.objects.filter(pk=each.pk).update(row={**each.row, "address": "", "user_agent": ""})


def head() -> str:
    """Return number and hash of the last row, such as `17:9f86d0…`."""
    last = AuditEvent.objects.values_list("id", "hash").first()
    return "{}:{}".format(*last) if last else ""


def contains_head(head: str) -> bool:
    """Return whether the row that `head` once named still exists with the same hash."""
    number, _, digest = head.partition(":")
    return number.isdecimal() and AuditEvent.objects.filter(pk=int(number), hash=digest).exists()


def verify() -> VerificationResult:
    """Recompute the hash of each row, up to the first broken row."""
    erased = set(AuditEvent.objects.filter(action=Action.DELETED).values_list("subject_id", flat=True))
    rows, head = 0, GENESIS_HASH
    for row in _read_rows():
        if reason := _find_fault(row, rows, head, erased):
            return VerificationResult(rows, head, row["id"], reason)
        rows, head = rows + 1, row["hash"]
    return VerificationResult(rows, head)


def _origin_columns(source: ClientInfo) -> dict[str, str]:
    salt = secrets.token_hex(16)
    known = bool(source.address or source.user_agent)
    digest = _digest(salt, source.address, source.user_agent) if known else ""
    return {"address": source.address, "user_agent": source.user_agent, "salt": salt, "origin_digest": digest}


def _digest(*parts: str) -> str:
    # Without the salt, the texts cannot be guessed from the digest.
    return hashlib.sha256(orjson.dumps(parts)).hexdigest()


def _insert_or_count(row: dict[str, Any]) -> None:
    try:
        with connection.cursor() as cursor:
            cursor.execute(INSERT_OR_COUNT, row)
    except Exception:  # any error of the driver: the request goes on, the operators get an alert
        facts = {name: row[name] for name in ("action", "actor_id", "subject_id", "request_id", "details")}
        alerts.send("audit_not_written", "An audit row could not be written.", exc_info=True, row=facts)


def _read_rows() -> Iterator[dict[str, Any]]:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(f"DECLARE trail NO SCROLL CURSOR FOR {SELECT_EVENTS}")
        while True:
            cursor.execute(f"FETCH {VERIFY_BATCH_ROWS} FROM trail")
            columns, rows = [column[0] for column in cursor.description], cursor.fetchall()
            if not rows:
                return
            yield from (dict(zip(columns, row, strict=True)) for row in rows)


def _find_fault(row: dict[str, Any], before: int, head: str, erased: set[UUID | None]) -> str:
    # Return the fault of a row, given the number and the last hash of the rows before it; empty if intact.
    if row["id"] != before + 1:
        return f"rows {before + 1} to {row['id'] - 1} are missing"
    if row["previous_hash"] != head:
        return "it does not carry the hash of the row before it"
    if hashlib.sha256(row["canonical"].encode()).hexdigest() != row["hash"]:
        return "its content does not match its hash"
    if row["salt"] is not None and _digest(row["salt"], row["address"], row["user_agent"]) != row["origin_digest"]:
        return "its address or user agent was changed"
    if row["salt"] is None and row["origin_digest"] and not {row["actor_id"], row["subject_id"]} & erased:
        return "its address and user agent are gone, and no account was deleted"
    return ""
