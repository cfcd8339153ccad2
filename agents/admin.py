"""The catalogue, for staff: edits count within seconds and are not overwritten by the files. And who has own keys."""

from typing import Any

from django import forms
from django.contrib import admin
from django.http import HttpRequest
from unfold.widgets import UnfoldAdminSelectWidget

from accounts.audited import AuditedAdmin, DeletableAdmin
from agents import catalogue
from agents.models import Agent, LanguageModel, ProviderKey
from agents.versioned_admin import VersionedAdmin
from billing import tiers


@admin.register(Agent)
class AgentAdmin(VersionedAdmin):
    list_display = (
        "name",
        "slug",
        "category",
        "enabled",
        "tier",
        "default_model",
        "temperature",
        "max_tokens",
        "version",
    )
    list_filter = ("enabled", "tier", "category")
    search_fields = ("slug", "name", "role", "prompt")
    fieldsets = (
        (None, {"fields": ("slug", "name", "role", "category", "position")}),
        ("Who may use it", {"fields": ("enabled", "tier")}),
        ("Model", {"fields": ("default_model", "temperature", "max_tokens")}),
        ("Prompt", {"fields": ("prompt",)}),
        ("This change", {"fields": ("note",)}),
    )

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        """Runs, chains and clients know an agent by its slug."""
        return ("slug",) if obj else ()

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        if db_field.name == "tier":
            return _choice(db_field, [(name, name) for name in tiers.names()])
        if db_field.name == "default_model":
            return _choice(db_field, [("", "the platform's default"), *_models()])
        return super().formfield_for_dbfield(db_field, request, **kwargs)


def _choice(db_field: Any, choices: list[tuple[str, str]]) -> forms.ChoiceField:
    return forms.ChoiceField(
        choices=choices,
        required=not db_field.blank,
        label=db_field.verbose_name.capitalize(),
        help_text=db_field.help_text,
        widget=UnfoldAdminSelectWidget,
    )


def _models() -> list[tuple[str, str]]:
    names = [f"{provider}/{model}" for provider, models in catalogue.current().models.items() for model in models]
    return [(name, name) for name in names]


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
