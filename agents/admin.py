"""The catalogue, for staff: edits count within seconds and are not overwritten by the files. And who has own keys."""

from typing import Any

from django import forms
from django.contrib import admin
from django.http import HttpRequest

from accounts.audited import AuditedAdmin, DeletableAdmin
from agents.models import Agent, LanguageModel, ProviderKey
from billing import tiers


@admin.register(Agent)
class AgentAdmin(AuditedAdmin):
    list_display = ("name", "slug", "category", "tier", "temperature", "max_tokens")
    list_filter = ("tier", "category")
    search_fields = ("slug", "name", "role", "prompt")

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        if db_field.name == "tier":
            return forms.ChoiceField(choices=[(name, name) for name in tiers.names()])
        return super().formfield_for_dbfield(db_field, request, **kwargs)


@admin.register(LanguageModel)
class LanguageModelAdmin(AuditedAdmin):
    list_display = ("name", "provider", "is_default", "enabled", "context_window")
    list_filter = ("provider", "enabled")
    search_fields = ("name",)


@admin.register(ProviderKey)
class ProviderKeyAdmin(DeletableAdmin):
    """Told apart by their last four; staff may take one away, as when it was leaked, and never read it."""

    list_display = ("user", "provider", "last_four", "set_at")
    list_filter = ("provider",)
    list_select_related = ("user",)
    search_fields = ("user__email",)
    fields = ("user", "provider", "last_four", "set_at")
