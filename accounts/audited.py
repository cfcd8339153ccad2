"""Every change that staff make in the admin is an audit row."""

from typing import Any

from django.db.models import Model, QuerySet
from django.http import HttpRequest
from unfold.admin import ModelAdmin

from accounts import audit
from accounts.audit import Action
from accounts.identity import staff_of
from accounts.models import User


class AuditedAdmin(ModelAdmin):
    """To be the base of every page of the admin; its methods are the ones by which Django's admin keeps its own log."""

    warn_unsaved_form = True
    list_fullwidth = True

    def log_addition(self, request: HttpRequest, obj: Model, message: Any) -> Any:
        _record(request, Action.ADMIN_ADDED, obj)
        return super().log_addition(request, obj, message)

    def log_change(self, request: HttpRequest, obj: Model, message: Any) -> Any:
        _record(request, Action.ADMIN_CHANGED, obj, fields=_fields(message))
        return super().log_change(request, obj, message)

    def log_deletions(self, request: HttpRequest, queryset: QuerySet[Any]) -> Any:
        for obj in queryset:
            _record(request, Action.ADMIN_DELETED, obj)
        return super().log_deletions(request, queryset)


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
    """Rows that staff may take away, with the permission that Django has for it."""

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return AuditedAdmin.has_delete_permission(self, request, obj)


def _record(request: HttpRequest, action: Action, obj: Model, **details: Any) -> None:
    owner = obj if isinstance(obj, User) else getattr(obj, "user", None)
    audit.record(
        action,
        actor=staff_of(request),
        subject=owner if isinstance(owner, User) else None,
        object=f"{obj._meta.label_lower} {obj.pk}",
        **details,
    )


def _fields(message: Any) -> list[str]:
    """Names of the fields that a form has changed, from the message that Django's admin makes of it."""
    parts = message if isinstance(message, list) else []
    return sorted({name for part in parts for change in part.values() for name in change.get("fields", ())})
