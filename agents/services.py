"""The catalogue, and the start of an execution."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from django.conf import settings

import runs.services as runs
from accounts import audit, verification
from accounts.audit import Action
from accounts.idempotency import Once
from accounts.models import User
from agents import catalogue, grounding, providers, runner
from agents.errors import UnknownAgent
from agents.models import Agent
from agents.providers import Target
from agents.providers.errors import ProviderNotConfigured, UnknownModel
from agents.providers.openai_compatible import Prompt
from agents.runner import Answer
from billing import tiers
from billing.errors import ProRequired
from runs import executors
from runs.recorder import Recorder


def start_execution(
    *,
    user: User,
    agent: str,
    context: str,
    provider: str | None,
    model: str | None,
    request_id: str,
    started: float,
    repository: str | None = None,
    once: Once | None = None,
) -> runs.Begun:
    """Check everything that can be checked, reserve an execution, write the run and set it going.

    Args:
        provider, model: as the request names them; None takes the defaults.
        started: when the request came in, on the `time.perf_counter` clock.
        repository: whose best passages are to go into the prompt; None for none.
        once: the request's idempotency key, where it has one.

    Raises:
        UnknownProvider, UnknownModel, UnknownAgent, UnknownRepository, EmailNotVerified, ProRequired,
        ProviderNotConfigured, EmbeddingsUnavailable, IdempotencyConflict, QuotaExceeded: in this order.
    """
    if earlier := runs.begun_before(user=user, once=once):
        return earlier
    asked = target(provider, model)
    expert = find(agent)
    grounding.require(user, repository)
    require_access(user, [expert])
    targets = reachable(asked)
    grounded = grounding.ground(user=user, repository=repository, context=context, experts=[expert], targets=targets)
    context = grounded.added_to(context) if grounded else context
    begun = runs.begin(
        user=user,
        text=context,
        once=once,
        agent=expert.slug,
        provider=asked.provider.name,
        model=asked.model,
        request_id=request_id,
    )
    if begun.replayed:
        return begun
    recorder = Recorder(begun.run.pk)
    told = [grounded.event] if grounded else []
    answer = Answer(targets=targets, prompt=prompt(expert, context), started=started, told=told)
    executors.submit(recorder, partial(runner.execute, begun.run, answer))
    return replace(begun, recorder=recorder)


def list_agents() -> list[Agent]:
    """All agents, in the catalogue's order."""
    return list(catalogue.current().agents.values())


def find(slug: str) -> Agent:
    """Look an agent up.

    Raises:
        UnknownAgent: with the slugs there are.
    """
    agents = catalogue.current().agents
    if slug not in agents:
        raise UnknownAgent(f"There is no agent {slug!r}.", available=list(agents))
    return agents[slug]


def require_access(user: User, experts: Sequence[Agent]) -> None:
    """Whether a user may have these agents run; every run passes here.

    Raises:
        EmailNotVerified: the operators want confirmed addresses.
        ProRequired: the user's tier does not hold one of the agents.
    """
    verification.require(user)
    for agent in experts:
        if not tiers.allows(user.tier, agent.tier):
            audit.record(Action.RUN_REFUSED, actor=user, subject=user, reason=ProRequired.code, agent=agent.slug)
            raise _pro_required(agent)


def target(provider: str | None, model: str | None) -> Target:
    """The provider and model a request asks for; a model named alone is looked for at every provider.

    Raises:
        UnknownProvider, UnknownModel: with the names there are.
    """
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


def reachable(asked: Target) -> list[Target]:
    """The target asked for, then those to fall back on.

    Raises:
        ProviderNotConfigured: the one asked for has no key.
    """
    targets = [each for each in (asked, *_fallbacks(asked)) if each.provider.configured]
    if asked not in targets:
        raise ProviderNotConfigured(f"The provider {asked.provider.name} has no key on this server.")
    return targets


def prompt(agent: Agent, context: str) -> Prompt:
    """What an agent asks a model."""
    messages = [{"role": "system", "content": agent.prompt}, {"role": "user", "content": context}]
    return Prompt(messages, agent.temperature, agent.max_tokens)


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
