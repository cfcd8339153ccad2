"""Listing, lookup and start of agents."""

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
from agents.runner import Completion
from apikeys.models import ApiKey
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
    api_key: ApiKey | None = None,
) -> run_services.StartedRun:
    """Validate the request, reserve an execution, store the run and start it.

    Args:
        started: arrival of the request on the `time.perf_counter` clock.

    Raises:
        UnknownProvider, UnknownModel, UnknownAgent, UnknownRepository, EmailNotVerified, ProRequired,
        ProviderNotConfigured, ProviderKeyUnreadable, SpendLimitReached, EmbeddingsUnavailable, IdempotencyConflict,
        QuotaExceeded, RateLimited, ConcurrencyLimitReached: in this order.
    """
    if earlier := run_services.find_replay(user=user, idempotency_key=idempotency_key):
        return earlier
    own = provider_keys.keyring(user.pk)
    requested = resolve_target(provider, model, own)
    expert = get_agent(agent)
    if provider is None and model is None:
        requested = agent_default_target(expert, own) or requested
    grounding.require_repository(user, repository)
    require_access(user, [expert])
    targets = targets_for_user(user, requested, own)
    grounded = grounding.search_repository(
        user=user, repository=repository, context=context, experts=[expert], targets=targets
    )
    context = grounded.append_to(context) if grounded else context
    started_run = run_services.create(
        user=user,
        text=context,
        idempotency_key=idempotency_key,
        agent=expert.slug,
        provider=requested.provider.name,
        model=requested.model,
        own_key=targets[0].provider.own_key,
        request_id=request_id,
        age_s=time.perf_counter() - started,
        api_key=api_key,
    )
    if started_run.replayed:
        return started_run
    recorder = Recorder(started_run.run.pk)
    opening_events = [grounded.event] if grounded else []
    answer = Completion(
        targets=targets, prompt=build_prompt(expert, context), started=started, opening_events=opening_events
    )
    executors.submit(recorder, partial(runner.execute, started_run.run, answer))
    return replace(started_run, recorder=recorder)


def list_agents() -> list[Agent]:
    return list(catalogue.current().agents.values())


def get_agent(slug: str) -> Agent:
    agents = catalogue.current().agents
    if slug not in agents:
        raise UnknownAgent(f"Unknown agent: {slug!r}.", available=list(agents))
    return agents[slug]


def require_access(user: User, experts: Sequence[Agent]) -> None:
    """Raise EmailNotVerified or ProRequired unless the user may run these agents."""
    # Every run passes here.
    verification.require_verified_email(user)
    for agent in experts:
        if not tiers.allows(user.tier, agent.tier):
            trail.record_on_commit(
                Action.RUN_REFUSED, actor=user, subject=user, reason=ProRequired.code, agent=agent.slug
            )
            raise _pro_required(agent)


def resolve_target(provider: str | None, model: str | None, own: Keyring) -> Target:
    """Return a request's target; a model alone is searched at every provider.

    Raises UnknownProvider or UnknownModel, with the available names.
    """
    if provider is None and model is not None:
        return _target_of_model(model, own)
    chosen = providers.get(provider) if provider else providers.default_provider(own)
    names = catalogue.current().models.get(chosen.name, [])
    if not names or (model and model not in names):
        raise UnknownModel(f"The provider {chosen.name} has no model {model or 'enabled'!r}.", available=names)
    return catalogue.target(chosen, model or names[0])


def agent_default_target(agent: Agent, own: Keyring) -> Target | None:
    """Return the model that staff chose for an agent, if it can be used now."""
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
    return catalogue.target(providers.first_configured(serving, own), model)


def targets_for_user(user: User, requested: Target, own: Keyring) -> list[Target]:
    """Return the requested target and its fallbacks.

    Raises ProviderNotConfigured if neither the server nor the user has a key, ProviderKeyUnreadable if the user's own
    cannot be decrypted, and SpendLimitReached if the server would pay and a daily limit is reached.
    """
    # The user's own key precedes the server's. There is no fallback from an own key: the user has chosen who is paid.
    targets = _with_user_key(requested, own) if requested.provider.name in own else _with_server_keys(requested)
    return _within_spend_limit(user, targets)


def targets_for_run(run: Run) -> list[Target]:
    """Return the targets of a run that started earlier, on the key it started with.

    Raises ProviderKeyNotFound or ProviderKeyUnreadable if the run's own key is gone, ProviderNotConfigured if the
    server's is, and UnknownModel if staff disabled the model.
    """
    # A daily limit reached since then does not stop the run; it only removes fallbacks of the embedded model.
    own = provider_keys.keyring(run.user_id)
    requested = resolve_target(run.provider, run.model, own)
    targets = _with_user_key(requested, own) if run.own_key else _with_server_keys(requested)
    if targets[0].provider.billed_to_operator or not spending.limits():
        return targets
    return _within_spend_limit(run.user, targets)


def _with_user_key(requested: Target, own: Keyring) -> list[Target]:
    return [replace(requested, provider=own.with_user_key(requested.provider))]


def _with_server_keys(requested: Target) -> list[Target]:
    targets = [each for each in (requested, *_fallbacks(requested)) if each.provider.configured]
    if requested not in targets:
        raise _not_configured(requested.provider)
    return targets


def _within_spend_limit(user: User, targets: list[Target]) -> list[Target]:
    # Above a daily limit the targets without cost stay usable.
    free_targets = [each for each in targets if not each.provider.billed_to_operator]
    if len(free_targets) == len(targets) or not spending.is_exhausted(user):
        return targets
    requested = targets[0]
    if requested not in free_targets:
        raise spending.refusal(user, requested.provider.name)
    return free_targets


def build_prompt(agent: Agent, context: str) -> Prompt:
    messages = [{"role": "system", "content": agent.prompt}, {"role": "user", "content": context}]
    return Prompt(messages, agent.temperature, agent.max_tokens)


def _fallbacks(requested: Target) -> list[Target]:
    models = catalogue.current().models
    others = [name for name in settings.LLM_FALLBACK if name != requested.provider.name and models[name]]
    return [catalogue.target(providers.get(name), models[name][0]) for name in others]


def _not_configured(provider: Provider) -> ProviderNotConfigured:
    bring = f" Bring your own: PUT /providers/{provider.name}/key." if provider.accepts_user_keys else ""
    return ProviderNotConfigured(f"The provider {provider.name} has no key on this server.{bring}")


def _pro_required(agent: Agent) -> ProRequired:
    plan = agent.tier.title()
    return ProRequired(
        f"{plan} subscription required",
        agent=agent.slug,
        agentName=agent.name,
        upgradeUrl=tiers.pricing_url(agent.tier),
        checkoutUrl=f"{tiers.pricing_url(agent.tier)}#subscribe",
        message=f"{agent.name} is part of the {plan} plan. Upgrade to {plan} or a higher plan to use it.",
    )
