"""The catalogue as this process knows it: every execution needs it, and it changes a few times a week."""

from dataclasses import dataclass

from django.conf import settings

from agents.models import Agent, LanguageModel
from agents.providers import prices
from lunaos.snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class Catalogue:
    """What is enabled: agents by slug in their order, models by provider, the default first; windows that staff set."""

    agents: dict[str, Agent]
    models: dict[str, list[str]]
    windows: dict[tuple[str, str], int | None]


def _read() -> Catalogue:
    models: dict[str, list[str]] = {name: [] for name in settings.LLM_PROVIDERS}
    windows = {}
    for row in LanguageModel.objects.filter(enabled=True, provider__in=models):
        models[row.provider].append(row.name)
        windows[row.provider, row.name] = row.context_window
    return Catalogue({agent.slug: agent for agent in Agent.objects.filter(enabled=True)}, models, windows)


current = Snapshot(_read)  # what staff see in the admin


def window(provider: str, model: str) -> int:
    """Tokens that a model's prompt and answer may have together."""
    return current().windows.get((provider, model)) or prices.context_window(provider, model)
