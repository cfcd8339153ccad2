"""Admin pages of agents, language models and users' provider keys."""

# Edits of staff take effect within seconds, and `load_agents` does not overwrite them.

from typing import Any, cast

from django import forms
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.urls import URLPattern, path
from django.views.decorators.http import require_POST
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextareaWidget

from accounts.staff.audited_admin import AuditedAdmin, DeletableAdmin
from agents import catalogue, trial_admin
from agents.models import Agent, LanguageModel, ProviderKey
from agents.versioned_admin import VersionedAdmin, VersionedForm
from billing import tiers


class AgentForm(VersionedForm):
    """Form of an agent that offers the stored tier and model even if they cannot be used now."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        for name in ("tier", "default_model"):
            field, value = cast(forms.ChoiceField | None, self.fields.get(name)), getattr(self.instance, name)
            if field and value and not field.valid_value(value):
                field.choices = [*cast(list[tuple[str, str]], field.choices), (value, f"{value} (not available)")]


@admin.register(Agent)
class AgentAdmin(VersionedAdmin):
    form = AgentForm
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
        ("Access", {"fields": ("enabled", "tier")}),
        ("Model", {"fields": ("default_model", "temperature", "max_tokens")}),
        ("Prompt", {"fields": ("prompt",)}),
        ("Note", {"fields": ("note",)}),
    )

    change_form_template = "admin/agents/agent/change_form.html"

    def get_urls(self) -> list[URLPattern]:
        """Add the page that answers a trial."""
        answer = self.admin_site.admin_view(require_POST(self.try_out))
        return [path("try/", answer, name="agents_agent_try"), *super().get_urls()]

    def try_out(self, request: HttpRequest) -> HttpResponseBase:
        """Stream the answer to a prompt that is not saved."""
        if not self.has_change_permission(request):
            raise PermissionDenied
        return trial_admin.stream_trial(request)

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        agent = context.get("original")
        if self.has_change_permission(request, agent):
            context["pane"] = trial_admin.trial_form(agent)
        return super().render_change_form(request, context, *args, **kwargs)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        """Lock the slug of an existing agent: runs, chains and clients refer to it."""
        return ("slug",) if obj else ()

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        if db_field.name == "tier":
            return _choice(db_field, [(name, name) for name in tiers.names()])
        if db_field.name == "default_model":
            return _choice(db_field, [("", "the platform's default"), *_models()])
        if db_field.name == "prompt":
            kwargs["widget"] = UnfoldAdminTextareaWidget(attrs={"rows": 24})
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
    list_display = ("name", "provider", "is_default", "enabled", "context_window", "max_output_tokens")
    list_filter = ("provider", "enabled")
    search_fields = ("name",)


@admin.register(ProviderKey)
class ProviderKeyAdmin(DeletableAdmin):
    """Users' provider keys: staff see the last four characters and may delete a leaked key."""

    list_display = ("user", "provider", "last_four", "set_at")
    list_filter = ("provider",)
    list_select_related = ("user",)
    search_fields = ("user__email",)
    fields = ("user", "provider", "last_four", "set_at")
