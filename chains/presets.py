"""The chains that have a name, as this process knows them (CONTRACT, section 6).

How to add one: in the admin, under Chain presets; one that is to come with a release, by a migration like 0002_presets.
"""

from agents import catalogue
from billing import tiers
from chains.models import ChainPreset
from lunaos.infra.ttl_cache import Snapshot


def _load() -> dict[str, ChainPreset]:
    return {preset.slug: preset for preset in ChainPreset.objects.filter(enabled=True)}


current = Snapshot(_load)  # the enabled ones, by what requests call them


def list_offered() -> list[ChainPreset]:
    """Those that can be run, in order."""
    return [preset for preset in current().values() if not missing_agents(preset)]


def missing_agents(preset: ChainPreset) -> list[str]:
    """Slugs of its agents that are gone or disabled."""
    agents = catalogue.current().agents
    return [slug for slug in preset.steps if slug not in agents]


def using_agents(slugs: list[str]) -> list[ChainPreset]:
    """The enabled ones, as they are in the database, that have one of these agents as a step."""
    return list(ChainPreset.objects.filter(enabled=True, steps__overlap=slugs))


def required_tier(preset: ChainPreset) -> str:
    """That of its highest agent, of those that are there."""
    agents = catalogue.current().agents
    found = [agents[slug].tier for slug in preset.steps if slug in agents]
    return max(found, key=lambda name: tiers.of(name).rank, default=tiers.FREE)
