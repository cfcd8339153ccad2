"""The catalogue, and the start of an execution."""

from django.conf import settings

import runs.services as runs
from accounts.models import User
from agents import catalogue, providers
from agents.errors import UnknownAgent
from agents.models import Agent
from agents.providers import Target
from agents.providers.errors import ProviderNotConfigured, UnknownModel
from agents.providers.openai_compatible import Prompt
from agents.runner import Execution
from billing import quota, tiers
from billing.errors import ProRequired


def start_execution(
    *, user: User, agent: str, context: str, provider: str | None, model: str | None, request_id: str, started: float
) -> tuple[Execution, quota.Usage]:
    """Check everything that can be checked, then reserve an execution and write the run.

    Args:
        provider, model: as the request names them; None takes the defaults.
        started: when the request came in, on the `time.perf_counter` clock.

    Raises:
        UnknownProvider, UnknownModel, UnknownAgent, ProRequired, ProviderNotConfigured, QuotaExceeded: in this order.
    """
    asked = _target(provider, model)
    expert = _agent(agent)
    if not tiers.allows(user.tier, expert.tier):
        raise _pro_required(expert)
    targets = [target for target in (asked, *_fallbacks(asked)) if target.provider.configured]
    if asked not in targets:
        raise ProviderNotConfigured(f"The provider {asked.provider.name} has no key on this server.")
    run, usage = runs.begin(
        user=user,
        agent=expert.slug,
        provider=asked.provider.name,
        model=asked.model,
        text=context,
        request_id=request_id,
    )
    return Execution(run=run, targets=targets, prompt=_prompt(expert, context), started=started), usage


def list_agents() -> list[Agent]:
    """All agents, in the catalogue's order."""
    return list(catalogue.current().agents.values())


def _agent(slug: str) -> Agent:
    agents = catalogue.current().agents
    if slug not in agents:
        raise UnknownAgent(f"There is no agent {slug!r}.", available=list(agents))
    return agents[slug]


def _target(provider: str | None, model: str | None) -> Target:
    """The provider and model a request asks for; a model named alone is looked for at every provider."""
    if provider is None and model is not None:
        return _target_of_model(model)
    chosen = providers.get(provider) if provider else providers.default()
    names = catalogue.current().models.get(chosen.name, [])
    if not names or (model and model not in names):
        raise UnknownModel(f"The provider {chosen.name} has no model {model or 'enabled'!r}.", available=names)
    return Target(chosen, model or names[0])


def _target_of_model(model: str) -> Target:
    models = catalogue.current().models
    serving = [providers.get(provider) for provider, names in models.items() if model in names]
    if not serving:
        available = [name for names in models.values() for name in names]
        raise UnknownModel(f"No provider has a model {model!r}.", available=available)
    return Target(next((provider for provider in serving if provider.configured), serving[0]), model)


def _fallbacks(asked: Target) -> list[Target]:
    models = catalogue.current().models
    others = [name for name in settings.LLM_FALLBACK if name != asked.provider.name and models[name]]
    return [Target(providers.get(name), models[name][0]) for name in others]


def _pro_required(agent: Agent) -> ProRequired:
    return ProRequired(
        agent=agent.slug,
        agentName=agent.name,
        upgradeUrl=tiers.upgrade_url(),
        checkoutUrl=f"{settings.PUBLIC_URL}/billing/checkout",
        message=f"{agent.name} is part of the Pro plan. Upgrade to use all 28 agents.",
    )


def _prompt(agent: Agent, context: str) -> Prompt:
    messages = [{"role": "system", "content": agent.prompt}, {"role": "user", "content": context}]
    return Prompt(messages, agent.temperature, agent.max_tokens)
