"""Base classes of the admin's pages, which write an audit row for every change."""

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
    # Overrides the methods with which Django writes its own log.

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
        """Return the rows that the staff member may change; a message counts the others."""
        if staff_of(request).is_superuser:
            return rows
        allowed = rows.exclude(Q((f"{owner}is_staff", True)) | Q((f"{owner}is_superuser", True)))
        if omitted := rows.count() - allowed.count():
            self.message_user(
                request, f"Omitted, because only superusers may change staff: {omitted}.", messages.WARNING
            )
        return allowed


class ReadOnlyAdmin(AuditedAdmin):
    """Rows that staff can read but not edit; actions of a subclass may change them."""

    show_full_result_count = False

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class DeletableAdmin(ReadOnlyAdmin):
    """Rows that staff may delete with Django's delete permission."""

    # Rows of staff only as a superuser.

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return whether the row may be deleted; Django asks for each row of a list, too."""
        return AuditedAdmin.has_delete_permission(self, request, obj) and may_modify(request, obj and owner_of(obj))


def owner_of(row: Model) -> User | None:
    """Return the owner of a row: its user, or the user of its parent, such as an index job's repository."""
    if isinstance(row, User):
        return row
    keys = [field.name for field in row._meta.concrete_fields if field.many_to_one]
    if "user" in keys:
        return row.user  # type: ignore[attr-defined]
    parents = (getattr(row, name) for name in keys)
    return next((owner for parent in parents if parent is not None and (owner := owner_of(parent))), None)


def _record(request: HttpRequest, action: Action, obj: Model, **details: Any) -> None:
    trail.record_on_commit(
        action,
        actor=staff_of(request),
        subject=owner_of(obj),
        object=f"{obj._meta.label_lower} {obj.pk}",
        **details,
    )


def _changed_fields(message: Any) -> list[str]:
    # Return the names of changed fields, from the change message of Django's admin.
    parts = message if isinstance(message, list) else []
    return sorted({name for part in parts for change in part.values() for name in change.get("fields", ())})
