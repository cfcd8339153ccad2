"""Every change that staff make in the admin is an audit row."""

from typing import Any

from django.contrib import messages
from django.db.models import Model, Q, QuerySet
from django.http import HttpRequest
from unfold.admin import ModelAdmin

from accounts.auditlog import trail
from accounts.auditlog.trail import Action
from accounts.identity import may_modify, staff_of
from accounts.models import User


class AuditedAdmin(ModelAdmin):
    """To be the base of every page of the admin; its methods are the ones by which Django's admin keeps its own log."""

    warn_unsaved_form = True
    list_fullwidth = True

    def log_addition(self, request: HttpRequest, obj: Model, message: Any) -> Any:
        _record(request, Action.ADMIN_ADDED, obj)
        return super().log_addition(request, obj, message)

    def log_change(self, request: HttpRequest, obj: Model, message: Any) -> Any:
        _record(request, Action.ADMIN_CHANGED, obj, fields=_changed_fields(message))
        return super().log_change(request, obj, message)

    def log_deletions(self, request: HttpRequest, queryset: QuerySet[Any]) -> Any:
        for obj in queryset:
            _record(request, Action.ADMIN_DELETED, obj)
        return super().log_deletions(request, queryset)

    def modifiable(self, request: HttpRequest, rows: QuerySet[Any], owner: str = "user__") -> QuerySet[Any]:
        """Of these rows those that the staff member may take from, or change; of the others is said how many they are.

        Args:
            owner: where their users are looked up, as a filter begins.
        """
        if staff_of(request).is_superuser:
            return rows
        kept = rows.exclude(Q((f"{owner}is_staff", True)) | Q((f"{owner}is_superuser", True)))
        if left := rows.count() - kept.count():
            self.message_user(
                request, f"Left out, since only superusers touch what is staff's: {left}.", messages.WARNING
            )
        return kept


class ReadOnlyAdmin(AuditedAdmin):
    """Rows that the platform writes and staff only read; actions may still change them in ways of their own."""

    show_full_result_count = False

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class DeletableAdmin(ReadOnlyAdmin):
    """Rows that staff may take away, with the permission that Django has for it; from staff, superusers alone."""

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Django asks for each row, also of a list."""
        return AuditedAdmin.has_delete_permission(self, request, obj) and may_modify(request, obj and owner_of(obj))


def owner_of(row: Model) -> User | None:
    """Whose a row is: its user, or the user of what it belongs to, as of an index job's repository."""
    if isinstance(row, User):
        return row
    keys = [field.name for field in row._meta.concrete_fields if field.many_to_one]
    if "user" in keys:
        return row.user  # type: ignore[attr-defined]
    above = (getattr(row, name) for name in keys)
    return next((owner for each in above if each is not None and (owner := owner_of(each))), None)


def _record(request: HttpRequest, action: Action, obj: Model, **details: Any) -> None:
    trail.record_on_commit(
        action,
        actor=staff_of(request),
        subject=owner_of(obj),
        object=f"{obj._meta.label_lower} {obj.pk}",
        **details,
    )


def _changed_fields(message: Any) -> list[str]:
    """Names of the fields that a form has changed, from the message that Django's admin makes of it."""
    parts = message if isinstance(message, list) else []
    return sorted({name for part in parts for change in part.values() for name in change.get("fields", ())})
