"""Runs, for staff: to read, not to change."""

from django.contrib import admin
from django.http import HttpRequest

from runs.models import Run


@admin.register(Run)
class RunAdmin(admin.ModelAdmin):
    list_display = ("id", "user", "agent", "provider", "model", "status", "error_code", "cost_usd", "created_at")
    list_filter = ("status", "provider", "agent")
    list_select_related = ("user",)
    search_fields = ("=id", "user__email", "=request_id")
    date_hierarchy = "created_at"
    show_full_result_count = False

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Run | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Run | None = None) -> bool:
        return False
