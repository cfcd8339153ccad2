"""The named chains, cached in this process (CONTRACT, section 6)."""

# How to add one: in the admin, under Chain presets; for one that comes with a release, by a migration like
# 0002_presets.

from agents import catalogue
from billing import tiers
from chains.models import ChainPreset
from lunaos.infra.ttl_cache import TtlCache


def _load() -> dict[str, ChainPreset]:
    return {preset.slug: preset for preset in ChainPreset.objects.filter(enabled=True)}


current = TtlCache(_load)  # the enabled presets by id


def list_offered() -> list[ChainPreset]:
    """Return the presets that can be run, in order."""
    return [preset for preset in current().values() if not missing_agents(preset)]


def missing_agents(preset: ChainPreset) -> list[str]:
    """Return the slugs of a preset's agents that are deleted or disabled."""
    agents = catalogue.current().agents
    return [slug for slug in preset.steps if slug not in agents]


def using_agents(slugs: list[str]) -> list[ChainPreset]:
    """Return the enabled presets that have one of these agents as a step."""
    # The rows come from the database, not from the cache.
    return list(ChainPreset.objects.filter(enabled=True, steps__overlap=slugs))


def required_tier(preset: ChainPreset) -> str:
    """Return the highest tier of a preset's existing agents."""
    agents = catalogue.current().agents
    names = [agents[slug].tier for slug in preset.steps if slug in agents]
    return max(names, key=lambda name: tiers.get(name).rank, default=tiers.FREE)
