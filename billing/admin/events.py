"""Stripe's events in the admin: what was reported, and when it was handled."""

from datetime import datetime

from django.contrib import admin

from accounts.staff.audited_admin import ReadOnlyAdmin
from billing.admin.stripe_pages import UTC_NOTE
from billing.models import WebhookEvent
from billing.payments import wording


@admin.register(WebhookEvent)
class WebhookEventAdmin(ReadOnlyAdmin):
    list_display = ("what", "handled", "customer_id", "id")
    list_filter = ("kind",)
    search_fields = ("id", "customer_id")
    search_help_text = "The id of an event or a customer at Stripe."
    readonly_fields = ("what",)
    fieldsets = (
        (None, {"fields": ("what", "kind", "customer_id", "made_at", "handled_at", "id"), "description": UTC_NOTE}),
    )

    @admin.display(description="handled, UTC", ordering="handled_at")
    def handled(self, row: WebhookEvent) -> datetime:
        return row.handled_at

    @admin.display(description="what happened", ordering="kind")
    def what(self, row: WebhookEvent) -> str:
        return wording.EVENTS.get(row.kind, row.kind)
