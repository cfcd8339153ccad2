"""The data source of accounts: profile, known addresses, activity."""

from collections.abc import Iterable, Iterator

from django.contrib.admin.models import LogEntry
from django.contrib.contenttypes.models import ContentType
from django.db.models import Q

from accounts.auditlog import trail
from accounts.models import AuditEvent, KnownAddress, User
from accounts.privacy import registry
from accounts.privacy.registry import Row
from accounts.signin import lockout


def export(user: User) -> Iterator[tuple[str, Row | Iterable[Row]]]:
    """Yield the account, its known addresses, staff's notes about it, and its activity."""
    yield "account", registry.to_row(user, "password", "session_epoch", "erasing_since")
    yield "addresses", [_address(known) for known in KnownAddress.objects.filter(email=user.email)]
    yield "notes", [{"text": note.text, "createdAt": note.created_at} for note in user.notes.all()]
    yield "activity", _activity(user)


def prepare_deletion(user: User) -> None:
    """Do nothing: accounts have no work outside the database."""


def revoke_access(user: User) -> None:
    lockout.delete_records(user.email)


def delete(user: User) -> None:
    """Delete lockout records, and the e-mail address in the admin's log."""
    # Idempotency keys, revoked tokens and second factors are deleted with the user's row, which comes last.
    lockout.delete_records(user.email)
    entries = LogEntry.objects.filter(content_type=ContentType.objects.get_for_model(User), object_id=str(user.pk))
    entries.update(object_repr=str(user.pk))  # the entry stays; its text is the e-mail address


def _address(known: KnownAddress) -> Row:
    return {"address": known.address, "lastSeenAt": known.last_seen_at}


def _activity(user: User) -> Iterator[Row]:
    events = AuditEvent.objects.filter(Q(subject_id=user.pk) | Q(actor_id=user.pk)).select_related("origin")
    for page in registry.in_pages(events):
        yield from (_event(event, user) for event in page)


def _event(event: AuditEvent, user: User) -> Row:
    source = trail.client_info_visible_to(event, user.pk)
    row = registry.to_row(event, "origin_digest", "previous_hash", "hash")
    return {**row, "address": source.address, "userAgent": source.user_agent}
