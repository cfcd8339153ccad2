"""Enabled agents and models, cached per process."""

# Every execution needs them, and they change a few times a week.

from dataclasses import dataclass

from django.conf import settings

from agents.models import Agent, LanguageModel
from agents.providers import Provider, Target, prices
from lunaos.infra.ttl_cache import TtlCache


@dataclass(frozen=True, slots=True)
class Catalogue:
    """Enabled agents by position, models by provider with the default first, and staff's limits."""

    agents: dict[str, Agent]
    models: dict[str, list[str]]
    windows: dict[tuple[str, str], int | None]
    output_limits: dict[tuple[str, str], int | None]


def _load() -> Catalogue:
    models: dict[str, list[str]] = {name: [] for name in settings.LLM_PROVIDERS}
    windows, output_limits = {}, {}
    for row in LanguageModel.objects.filter(enabled=True, provider__in=models):
        models[row.provider].append(row.name)
        windows[row.provider, row.name] = row.context_window
        output_limits[row.provider, row.name] = row.max_output_tokens
    agents = {agent.slug: agent for agent in Agent.objects.filter(enabled=True)}
    return Catalogue(agents, models, windows, output_limits)


current = TtlCache(_load)  # edits in the admin take effect after its TTL


def context_window(provider: str, model: str) -> int:
    """Return the tokens that prompt and answer of a model may have together."""
    return current().windows.get((provider, model)) or prices.context_window(provider, model)


def target(provider: Provider, model: str) -> Target:
    """Return a provider's model with its output limit."""
    return Target(provider, model, current().output_limits.get((provider.name, model)))
