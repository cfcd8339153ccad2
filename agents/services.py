"""The catalogue, and the start of an execution."""

import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from django.conf import settings

from accounts.auditlog import trail
from accounts.auditlog.trail import Action
from accounts.idempotency import RequestKey
from accounts.models import User
from accounts.signin import verification
from agents import catalogue, grounding, provider_keys, providers, runner
from agents.errors import UnknownAgent
from agents.models import Agent
from agents.provider_keys import Keyring
from agents.providers import Provider, Target
from agents.providers.errors import ProviderNotConfigured, UnknownModel
from agents.providers.openai_compatible import Prompt
from agents.runner import Answer
from billing import tiers
from billing.errors import ProRequired
from runs import executors
from runs import services as run_services
from runs.eventlog.recorder import Recorder
from runs.metering import spending
from runs.models import Run


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
    idempotency_key: RequestKey | None = None,
) -> run_services.StartedRun:
    """Check everything that can be checked, reserve an execution, write the run and set it going.

    Args:
        provider, model: as the request names them; None takes the defaults.
        started: when the request came in, on the `time.perf_counter` clock.
        repository: whose best passages are to go into the prompt; None for none.
        idempotency_key: from the request's Idempotency-Key header; None without one.

    Raises:
        UnknownProvider, UnknownModel, UnknownAgent, UnknownRepository, EmailNotVerified, ProRequired,
        ProviderNotConfigured, ProviderKeyUnreadable, SpendLimitReached, EmbeddingsUnavailable, IdempotencyConflict,
        QuotaExceeded, RateLimited, ConcurrencyLimitReached: in this order.
    """
    if earlier := run_services.find_replay(user=user, idempotency_key=idempotency_key):
        return earlier
    own = provider_keys.keyring(user.pk)
    asked = target(provider, model, own)
    expert = find(agent)
    if provider is None and model is None:
        asked = preferred(expert, own) or asked
    grounding.require(user, repository)
    require_access(user, [expert])
    targets = reachable(user, asked, own)
    grounded = grounding.ground(user=user, repository=repository, context=context, experts=[expert], targets=targets)
    context = grounded.append_to(context) if grounded else context
    begun = run_services.create(
        user=user,
        text=context,
        idempotency_key=idempotency_key,
        agent=expert.slug,
        provider=asked.provider.name,
        model=asked.model,
        own_key=targets[0].provider.own_key,
        request_id=request_id,
        age_s=time.perf_counter() - started,
    )
    if begun.replayed:
        return begun
    recorder = Recorder(begun.run.pk)
    told = [grounded.event] if grounded else []
    answer = Answer(targets=targets, prompt=prompt(expert, context), started=started, opening=told)
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
            trail.record(Action.RUN_REFUSED, actor=user, subject=user, reason=ProRequired.code, agent=agent.slug)
            raise _pro_required(agent)


def target(provider: str | None, model: str | None, own: Keyring) -> Target:
    """The provider and model a request asks for; a model named alone is looked for at every provider.

    Args:
        own: the user's keys; a provider that the server has no key for is as good with one of them.

    Raises:
        UnknownProvider, UnknownModel: with the names there are.
    """
    if provider is None and model is not None:
        return _target_of_model(model, own)
    chosen = providers.get(provider) if provider else providers.default(own)
    names = catalogue.current().models.get(chosen.name, [])
    if not names or (model and model not in names):
        raise UnknownModel(f"The provider {chosen.name} has no model {model or 'enabled'!r}.", available=names)
    return catalogue.target(chosen, model or names[0])


def preferred(agent: Agent, own: Keyring) -> Target | None:
    """The model that staff have chosen for an agent; None where they have not, or it cannot be used at the moment."""
    name, _, model = agent.default_model.partition("/")
    if model not in catalogue.current().models.get(name, ()):
        return None
    provider = providers.get(name)
    return catalogue.target(provider, model) if provider.configured or name in own else None


def _target_of_model(model: str, own: Keyring) -> Target:
    models = catalogue.current().models
    serving = [providers.get(provider) for provider, names in models.items() if model in names]
    if not serving:
        available = [name for names in models.values() for name in names]
        raise UnknownModel(f"No provider has a model {model!r}.", available=available)
    return catalogue.target(providers.first_usable(serving, own), model)


def reachable(user: User, asked: Target, own: Keyring) -> list[Target]:
    """The target asked for, then those to fall back on.

    The user's own key comes before the server's, and nobody stands in for it: the user has chosen who is paid.

    Raises:
        ProviderNotConfigured: the one asked for has no key, neither the server's nor the user's.
        ProviderKeyUnreadable: the user's own cannot be decrypted.
        SpendLimitReached: the server would pay for the one asked for, and has paid enough for today.
    """
    targets = _on_own_key(asked, own) if asked.provider.name in own else _on_servers_keys(asked)
    return _affordable(user, targets)


def targets_of(run: Run) -> list[Target]:
    """Who may answer a run that was begun earlier: on whose key that was, whatever its user has done since.

    A daily limit that has been reached since does not stop the run; it only takes away fallbacks of the embedded model.

    Raises:
        ProviderKeyNotFound, ProviderKeyUnreadable: on the user's own, which is gone.
        ProviderNotConfigured: on the server's, which is gone.
        UnknownModel: staff have taken it away.
    """
    own = provider_keys.keyring(run.user_id)
    asked = target(run.provider, run.model, own)
    targets = _on_own_key(asked, own) if run.own_key else _on_servers_keys(asked)
    if targets[0].provider.costs_server or not spending.limits():
        return targets
    return _affordable(run.user, targets)


def _on_own_key(asked: Target, own: Keyring) -> list[Target]:
    return [replace(asked, provider=own.equip(asked.provider))]


def _on_servers_keys(asked: Target) -> list[Target]:
    targets = [each for each in (asked, *_fallbacks(asked)) if each.provider.configured]
    if asked not in targets:
        raise _not_configured(asked.provider)
    return targets


def _affordable(user: User, targets: list[Target]) -> list[Target]:
    """Return the targets that the daily limits leave a user: all, or those that cost the server nothing.

    Raises:
        SpendLimitReached: the one asked for, the first, is not among them.
    """
    at_no_cost = [each for each in targets if not each.provider.costs_server]
    if len(at_no_cost) == len(targets) or not spending.is_exhausted(user):
        return targets
    asked = targets[0]
    if asked not in at_no_cost:
        raise spending.refusal(user, asked.provider.name)
    return at_no_cost


def prompt(agent: Agent, context: str) -> Prompt:
    """What an agent asks a model."""
    messages = [{"role": "system", "content": agent.prompt}, {"role": "user", "content": context}]
    return Prompt(messages, agent.temperature, agent.max_tokens)


def _fallbacks(asked: Target) -> list[Target]:
    models = catalogue.current().models
    others = [name for name in settings.LLM_FALLBACK if name != asked.provider.name and models[name]]
    return [catalogue.target(providers.get(name), models[name][0]) for name in others]


def _not_configured(provider: Provider) -> ProviderNotConfigured:
    bring = f" Bring your own: PUT /providers/{provider.name}/key." if provider.takes_own_keys else ""
    return ProviderNotConfigured(f"The provider {provider.name} has no key on this server.{bring}")


def _pro_required(agent: Agent) -> ProRequired:
    plan = agent.tier.title()
    return ProRequired(
        f"{plan} subscription required",
        agent=agent.slug,
        agentName=agent.name,
        upgradeUrl=tiers.upgrade_url(),
        checkoutUrl=f"{settings.PUBLIC_URL}/billing/checkout",
        message=f"{agent.name} is part of the {plan} plan. Upgrade to {plan} or a higher plan to use it.",
    )
