"""Chain presets, for staff: as agents are edited, with versions; at most five steps, all of enabled agents."""

from collections.abc import Sequence
from typing import Any, cast

from django import forms
from django.contrib import admin
from django.http import HttpRequest
from unfold.widgets import UnfoldAdminSelectWidget

from agents.models import Agent
from agents.versioned_admin import VersionedAdmin, VersionedForm
from chains import presets
from chains.models import LONGEST, ChainPreset

NO_STEP = ("", "- no step -")


class StepsWidget(forms.MultiWidget):
    """A list to choose from for each step."""

    def __init__(self) -> None:
        super().__init__(
            [
                UnfoldAdminSelectWidget(attrs={"aria-label": f"Step {n}", "class": "luna-step"})
                for n in range(1, LONGEST + 1)
            ]
        )

    def decompress(self, value: Any) -> list[str]:
        return list(value or [])


class StepsField(forms.MultiValueField):
    """The chosen agents' slugs in order; steps left empty are left out."""

    def __init__(self) -> None:
        fields = [forms.ChoiceField(required=False) for _ in range(LONGEST)]
        super().__init__(fields=fields, widget=StepsWidget(), label="Steps", required=False, require_all_fields=False)

    def offer(self, choices: list[tuple[str, str]]) -> None:
        """Give each step these to choose from."""
        offered = [NO_STEP, *choices]
        for field, widget in zip(self.fields, cast(StepsWidget, self.widget).widgets, strict=True):
            cast(forms.ChoiceField, field).choices = offered
            cast(UnfoldAdminSelectWidget, widget).choices = offered

    def compress(self, data_list: Sequence[Any]) -> list[str]:
        return [slug for slug in data_list if slug]

    def has_changed(self, initial: Any, data: Any) -> bool:
        return self.compress(data or []) != list(initial or [])


class ChainPresetForm(VersionedForm):
    steps = StepsField()

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.fields["steps"].help_text = f"{LONGEST} at most. Each is given what those before it have said."
        agents = {agent.slug: _label(agent) for agent in Agent.objects.only("slug", "name", "tier", "enabled")}
        gone = {slug: f"{slug} (gone)" for slug in self.instance.steps or [] if slug not in agents}
        self.fields["steps"].offer([*agents.items(), *gone.items()])  # type: ignore[attr-defined]


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
        """Runs and clients know a preset by its id."""
        return ("slug",) if obj else ()

    @admin.display(description="steps")
    def in_order(self, preset: ChainPreset) -> str:
        return " → ".join(preset.steps)

    @admin.display
    def tier(self, preset: ChainPreset) -> str:
        return presets.tier(preset)

    @admin.display
    def state(self, preset: ChainPreset) -> str:
        """Whether clients see it."""
        if not preset.enabled:
            return "disabled"
        missing = presets.missing(preset)
        return f"not offered: {', '.join(missing)} is disabled or gone" if missing else "offered"


def _label(agent: Agent) -> str:
    return f"{agent.name} ({agent.slug}, {agent.tier}{'' if agent.enabled else ', disabled'})"
