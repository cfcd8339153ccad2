"""The catalogue, for staff: edits count within seconds and are not overwritten by the files."""

from django.contrib import admin

from agents.models import Agent, LanguageModel


@admin.register(Agent)
class AgentAdmin(admin.ModelAdmin):
    list_display = ("name", "slug", "category", "tier", "temperature", "max_tokens")
    list_filter = ("tier", "category")
    search_fields = ("slug", "name", "role", "prompt")


@admin.register(LanguageModel)
class LanguageModelAdmin(admin.ModelAdmin):
    list_display = ("name", "provider", "is_default", "enabled", "context_window")
    list_filter = ("provider", "enabled")
    search_fields = ("name",)
