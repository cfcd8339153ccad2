"""The catalogue as this process knows it: read from the database at most every few seconds.

Every execution needs it and it changes a few times a week; a staff member's edit counts within FRESH_S everywhere.
"""

import time
from dataclasses import dataclass

from django.conf import settings

from agents.models import Agent, LanguageModel
from agents.providers import prices

FRESH_S = 3.0


@dataclass(frozen=True, slots=True)
class Catalogue:
    """Agents by slug in their order, enabled models by provider, the default first, and the windows staff have set."""

    agents: dict[str, Agent]
    models: dict[str, list[str]]
    windows: dict[tuple[str, str], int | None]
    read_at: float


_current: Catalogue | None = None


def current() -> Catalogue:
    """What staff see in the admin, at most FRESH_S seconds old."""
    global _current
    if _current is None or time.monotonic() - _current.read_at > FRESH_S:
        _current = _read()
    return _current


def window(provider: str, model: str) -> int:
    """Tokens that a model's prompt and answer may have together."""
    return current().windows.get((provider, model)) or prices.context_window(provider, model)


def forget() -> None:
    """Read anew on the next use."""
    global _current
    _current = None


def _read() -> Catalogue:
    models: dict[str, list[str]] = {name: [] for name in settings.LLM_PROVIDERS}
    windows = {}
    for row in LanguageModel.objects.filter(enabled=True, provider__in=models):
        models[row.provider].append(row.name)
        windows[row.provider, row.name] = row.context_window
    return Catalogue({agent.slug: agent for agent in Agent.objects.all()}, models, windows, time.monotonic())
