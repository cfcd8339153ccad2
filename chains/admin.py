"""Chain presets in the admin, with versions like agents."""

# A preset has at most five steps, all of enabled agents.

from collections.abc import Sequence
from typing import Any, cast

from django import forms
from django.contrib import admin
from django.http import HttpRequest
from unfold.widgets import UnfoldAdminSelectWidget

from agents.models import Agent
from agents.versioned_admin import VersionedAdmin, VersionedForm
from chains import presets
from chains.models import MAX_STEPS, ChainPreset

NO_STEP = ("", "- no step -")


class PresetStepsWidget(forms.MultiWidget):
    """One select box per step."""

    def __init__(self) -> None:
        super().__init__(
            [
                UnfoldAdminSelectWidget(attrs={"aria-label": f"Step {n}", "class": "luna-step"})
                for n in range(1, MAX_STEPS + 1)
            ]
        )

    def decompress(self, value: Any) -> list[str]:
        return list(value or [])


class PresetStepsField(forms.MultiValueField):
    """The slugs of the chosen agents in order; empty steps are left out."""

    def __init__(self) -> None:
        fields = [forms.ChoiceField(required=False) for _ in range(MAX_STEPS)]
        super().__init__(
            fields=fields, widget=PresetStepsWidget(), label="Steps", required=False, require_all_fields=False
        )

    def set_choices(self, choices: list[tuple[str, str]]) -> None:
        """Set the choices of every step."""
        all_choices = [NO_STEP, *choices]
        for field, widget in zip(self.fields, cast(PresetStepsWidget, self.widget).widgets, strict=True):
            cast(forms.ChoiceField, field).choices = all_choices
            cast(UnfoldAdminSelectWidget, widget).choices = all_choices

    def compress(self, data_list: Sequence[Any]) -> list[str]:
        return [slug for slug in data_list if slug]

    def has_changed(self, initial: Any, data: Any) -> bool:
        return self.compress(data or []) != list(initial or [])


class ChainPresetForm(VersionedForm):
    steps = PresetStepsField()

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.fields["steps"].help_text = f"At most {MAX_STEPS}. Each step gets the outputs of the steps before it."
        agents = {agent.slug: _label(agent) for agent in Agent.objects.only("slug", "name", "tier", "enabled")}
        deleted = {slug: f"{slug} (deleted)" for slug in self.instance.steps or [] if slug not in agents}
        self.fields["steps"].set_choices([*agents.items(), *deleted.items()])  # type: ignore[attr-defined]


@admin.register(ChainPreset)
class ChainPresetAdmin(VersionedAdmin):
    form = ChainPresetForm
    list_display = ("name", "slug", "in_order", "tier", "state", "version")
    list_filter = ("enabled",)
    search_fields = ("slug", "name", "description")
    fieldsets = (
        (None, {"fields": ("slug", "name", "description", "position", "enabled")}),
        ("Agents, in order", {"fields": ("steps",)}),
        ("This change", {"fields": ("note",)}),
    )

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        """Fix the id of an existing preset: runs and clients refer to it."""
        return ("slug",) if obj else ()

    @admin.display(description="steps")
    def in_order(self, preset: ChainPreset) -> str:
        return " → ".join(preset.steps)

    @admin.display
    def tier(self, preset: ChainPreset) -> str:
        return presets.required_tier(preset)

    @admin.display
    def state(self, preset: ChainPreset) -> str:
        """Return whether clients see the preset, with the reason if not."""
        if not preset.enabled:
            return "disabled"
        missing = presets.missing_agents(preset)
        return f"not offered: {', '.join(missing)} is disabled or deleted" if missing else "offered"


def _label(agent: Agent) -> str:
    return f"{agent.name} ({agent.slug}, {agent.tier}{'' if agent.enabled else ', disabled'})"
