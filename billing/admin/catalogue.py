"""Tiers, usage and grants in the admin."""

from datetime import UTC, datetime
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.forms import ModelForm
from django.http import HttpRequest

from accounts.identity import staff_of
from accounts.models import User
from accounts.staff.audited_admin import AuditedAdmin, ReadOnlyAdmin
from accounts.staff.confirm_action import requires_confirmation
from accounts.staff.exporting_admin import ExportableAdmin
from billing import grants
from billing.models import Grant, MonthlyUsage, Tier


@admin.register(Tier)
class TierAdmin(AuditedAdmin):
    # More columns would scroll sideways at 1280 pixels; the form has all figures.
    list_display = ("name", "rank", "price_usd", "executions", "requests_per_minute", "executions_at_once")
    fieldsets = (
        (None, {"fields": ("name", "rank", "price_usd", "lookup_key", "features")}),
        ("Runs", {"fields": ("executions", "executions_at_once", "starts_per_hour", "requests_per_minute")}),
        ("API keys and code search", {"fields": ("api_keys", "repositories", "stored_bytes")}),
    )

    def get_readonly_fields(self, request: HttpRequest, obj: Tier | None = None) -> tuple[str, ...]:
        return ("name",) if obj else ()  # users and agents refer to a tier by name

    def has_delete_permission(self, request: HttpRequest, obj: Tier | None = None) -> bool:
        return False


@admin.register(MonthlyUsage)
class MonthlyUsageAdmin(ExportableAdmin, ReadOnlyAdmin):
    list_display = ("user", "month", "executions", "chains", "told_percent")
    list_select_related = ("user",)
    list_filter = ("month",)
    search_fields = ("user__email",)
    search_help_text = "A user's e-mail address."
    ordering = ("-month", "-executions")
    export_columns = ("user_id", "user__email", "month", "executions", "chains", "told_percent")


class GrantForm(ModelForm):
    def clean_until(self) -> datetime | None:
        until: datetime | None = self.cleaned_data["until"]
        if until and until <= datetime.now(UTC):
            raise ValidationError("This time is in the past. Choose a later one, or leave it empty for no end.")
        return until


@admin.register(Grant)
class GrantAdmin(ExportableAdmin, AuditedAdmin):
    """Lets staff make grants and end all grants of a user; a grant is never edited."""

    form = GrantForm
    list_display = ("user", "tier", "until", "reason", "granted_by", "created_at", "ended_at")
    list_select_related = ("user", "tier", "granted_by")
    list_filter = ("tier",)
    date_hierarchy = "created_at"
    search_fields = ("user__email", "reason")
    search_help_text = "A user's e-mail address, or the reason."
    autocomplete_fields = ("user",)
    actions = ("end",)
    export_columns = (
        *("id", "user_id", "user__email", "tier_id", "until", "reason", "granted_by__email", "created_at", "ended_at"),
    )

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        """Offer staff accounts to superusers only, also where staff would choose themselves."""
        field = super().formfield_for_foreignkey(db_field, request, **kwargs)
        if db_field.name == "user" and field and not staff_of(request).is_superuser:
            field.queryset = User.objects.filter(is_staff=False, is_superuser=False)
            field.error_messages["invalid_choice"] = "Only superusers can grant a tier to staff."
        return field

    def save_model(self, request: HttpRequest, obj: Grant, form: ModelForm, change: bool) -> None:
        grant = grants.grant(
            user=obj.user, tier=obj.tier_id, until=obj.until, reason=obj.reason, actor=staff_of(request)
        )
        obj.pk = grant.pk

    @admin.action(description="End all grants of these users", permissions=["add"])
    @requires_confirmation(
        "End all grants of these users?",
        consequence="All grants of these users end, including grants that are not in this list. "
        "Tiers that the users pay for stay.",
    )
    def end(self, request: HttpRequest, queryset: QuerySet[Grant]) -> None:
        users = {grant.user for grant in self.modifiable(request, queryset).select_related("user")}
        ended = sum(grants.end_grants(user=user, actor=staff_of(request)) for user in users)
        self.message_user(request, f"{ended} grants have ended.", messages.SUCCESS if ended else messages.WARNING)

    def has_change_permission(self, request: HttpRequest, obj: Grant | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Grant | None = None) -> bool:
        return False
