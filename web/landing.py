"""Content of the landing page: agents, presets and tiers."""

from collections.abc import Iterator
from typing import Any

from django.conf import settings

from agents import catalogue
from agents.models import Agent
from billing import tiers
from billing.models import Tier
from chains import presets

# The enforced figures are shown beside the features, so these features are hidden.
FEATURES_SHOWN_AS_FIGURES = ("agents", "executions a month", "requests a minute")


def page_context() -> dict[str, Any]:
    """Return the template context; it costs no query while the caches are fresh."""
    agents = catalogue.current().agents
    return {
        "public_url": settings.PUBLIC_URL,
        "total": len(agents),
        "categories": _by_category(agents.values()),
        "presets": list(_presets(agents)),
        "plans": list_plans(),
    }


def _by_category(agents: Any) -> dict[str, list[Agent]]:
    found: dict[str, list[Agent]] = {}
    for agent in agents:
        found.setdefault(agent.category, []).append(agent)
    return found


def _presets(agents: dict[str, Agent]) -> Iterator[dict[str, Any]]:
    for preset in presets.list_offered():
        names = [agents[slug].name.removesuffix(" Agent") for slug in preset.steps if slug in agents]
        yield {"preset": preset, "steps": names, "tier": presets.required_tier(preset)}


def list_plans() -> list[dict[str, Any]]:
    agents = list(catalogue.current().agents.values())
    return [_plan(tier, agents) for tier in tiers.list_all()]


def _plan(tier: Tier, agents: list[Agent]) -> dict[str, Any]:
    usable = sum(tiers.allows(tier.name, agent.tier) for agent in agents)
    return {
        "name": tier.name,
        "price": f"${tier.price_usd:,.2f}".removesuffix(".00"),
        "agents": f"All {usable}" if usable == len(agents) else f"{usable} of {len(agents)}",
        "executions": f"{tier.executions:,}",
        "requests": f"{tier.requests_per_minute:,}",
        "at_once": tier.executions_at_once,
        "starts": f"{tier.starts_per_hour:,}",
        "api_keys": tier.api_keys,
        "stored": _format_size(tier.stored_bytes),
        "repositories": f"{tier.repositories:,} repositor{'y' if tier.repositories == 1 else 'ies'}",
        "features": [feature for feature in tier.features if not feature.endswith(FEATURES_SHOWN_AS_FIGURES)],
    }


def _format_size(count: int) -> str:
    size, units = float(count), ["bytes", "kB", "MB", "GB", "TB"]
    while size >= 1_000 and len(units) > 1:
        size, units = size / 1_000, units[1:]
    return f"{size:.4g} {units[0]}"
