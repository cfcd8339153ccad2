"""Agent pages with warnings about chain presets that need a disabled agent.

They lie here and not in `agents`, which must not import `chains`.
"""

from typing import Any

from django.contrib import admin, messages
from django.http import HttpRequest

from agents.admin import AgentAdmin
from agents.models import Agent
from chains import presets


class AgentInChainsAdmin(AgentAdmin):
    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        # Before the confirmation, and again before the deletion.
        self._warn(request, [agent.slug for agent in objs])
        return super().get_deleted_objects(objs, request)

    def save_model(self, request: HttpRequest, obj: Agent, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        if not obj.enabled:
            self._warn(request, [obj.slug])

    def _try_restore(self, request: HttpRequest, row: Any, *version: Any) -> bool:
        restored = super()._try_restore(request, row, *version)
        if restored and not row.enabled:
            self._warn(request, [row.slug])
        return restored

    def _warn(self, request: HttpRequest, slugs: list[str]) -> None:
        if names := ", ".join(str(preset) for preset in presets.using_agents(slugs)):
            warning = f"Chain presets that are hidden without {', '.join(slugs)}: {names}."
            self.message_user(request, warning, messages.WARNING)


admin.site.unregister(Agent)
admin.site.register(Agent, AgentInChainsAdmin)
