"""The catalogue, for staff: edits count within seconds and are not overwritten by the files."""

from django.contrib import admin

from accounts.audited import AuditedAdmin
from agents.models import Agent, LanguageModel


@admin.register(Agent)
class AgentAdmin(AuditedAdmin):
    list_display = ("name", "slug", "category", "tier", "temperature", "max_tokens")
    list_filter = ("tier", "category")
    search_fields = ("slug", "name", "role", "prompt")


@admin.register(LanguageModel)
class LanguageModelAdmin(AuditedAdmin):
    list_display = ("name", "provider", "is_default", "enabled", "context_window")
    list_filter = ("provider", "enabled")
    search_fields = ("name",)
