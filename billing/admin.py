"""Tiers and usage, for staff: a tier's figures count within seconds, everywhere."""

from django.contrib import admin
from django.http import HttpRequest

from accounts.audited import AuditedAdmin, ReadOnlyAdmin
from billing.models import MonthlyUsage, Tier


@admin.register(Tier)
class TierAdmin(AuditedAdmin):
    list_display = ("name", "rank", "price_usd", "executions", "requests_per_minute", "api_keys")

    def get_readonly_fields(self, request: HttpRequest, obj: Tier | None = None) -> tuple[str, ...]:
        return ("name",) if obj else ()  # users and agents name it

    def has_delete_permission(self, request: HttpRequest, obj: Tier | None = None) -> bool:
        return False


@admin.register(MonthlyUsage)
class MonthlyUsageAdmin(ReadOnlyAdmin):
    list_display = ("user", "month", "executions", "chains", "told_percent")
    list_select_related = ("user",)
    list_filter = ("month",)
    search_fields = ("user__email",)
    ordering = ("-month", "-executions")
