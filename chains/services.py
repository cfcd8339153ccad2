"""List the presets, start chains, and resume failed ones."""

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models.functions import Now

from accounts.idempotency import RequestKey
from accounts.models import User
from agents import grounding, provider_keys
from agents import services as agent_services
from apikeys.models import ApiKey
from billing import quota
from chains import events, presets, queue
from chains.errors import ChainTooLong, UnknownChain
from chains.models import CUSTOM_SLUG, MAX_STEPS, ChainPreset
from lunaos.errors import ServiceUnavailable
from lunaos.event_lines import encode
from lunaos.infra import event_loop
from runs import chain_steps, outcomes, texts
from runs import services as run_services
from runs.errors import EventsExpired, RunNotResumable
from runs.eventlog import capacity, log
from runs.eventlog.recorder import RunEvent
from runs.metering import start_limits
from runs.models import Charge, Run, Status

RESUMABLE = (Status.FAILED, Status.INTERRUPTED)
RETRY_AFTER_S = 5
QUEUE_UNAVAILABLE = "The queue of chains cannot be reached. Try again in a few seconds."


def list_chains() -> list[dict[str, object]]:
    """Return the presets that can be run, each with the tier that it requires."""
    return [
        {
            "id": preset.slug,
            "name": preset.name,
            "description": preset.description,
            "steps": list(preset.steps),
            "tier": presets.required_tier(preset),
        }
        for preset in presets.list_offered()
    ]


def start(
    *,
    user: User,
    chain: str | None,
    steps: list[str] | None,
    context: str,
    provider: str | None,
    model: str | None,
    request_id: str,
    started: float,
    repository: str | None = None,
    idempotency_key: RequestKey | None = None,
    api_key: ApiKey | None = None,
) -> run_services.StartedRun:
    """Check the request, reserve one execution, write the run, and enqueue it.

    Raises:
        ChainTooLong, UnknownProvider, UnknownModel, UnknownChain, UnknownAgent, UnknownRepository, EmailNotVerified,
        ProRequired, ProviderNotConfigured, ProviderKeyUnreadable, SpendLimitReached, EmbeddingsUnavailable,
        IdempotencyConflict, QuotaExceeded, RateLimited, ConcurrencyLimitReached: in this order.
        ServiceUnavailable: the queue cannot be reached; the execution is released.
    """
    if earlier := run_services.find_replay(user=user, idempotency_key=idempotency_key):
        return earlier
    if steps and len(steps) > MAX_STEPS:
        raise ChainTooLong()
    own = provider_keys.keyring(user.pk)
    target = agent_services.resolve_target(provider, model, own)
    experts = [agent_services.get_agent(slug) for slug in steps or _find_preset(chain).steps]
    grounding.require_repository(user, repository)
    agent_services.require_access(user, experts)
    targets = agent_services.targets_for_user(user, target, own)
    grounded = grounding.search_repository(
        user=user, repository=repository, context=context, experts=experts, targets=targets
    )
    opening = partial(events.opening_events, grounded=[grounded.event] if grounded else [])
    started_run = run_services.create(
        user=user,
        opening=opening,
        text=grounded.append_to(context) if grounded else context,
        idempotency_key=idempotency_key,
        chain=chain or CUSTOM_SLUG,
        steps=[expert.slug for expert in experts],
        provider=target.provider.name,
        model=target.model,
        own_key=targets[0].provider.own_key,
        request_id=request_id,
        age_s=time.perf_counter() - started,
        api_key=api_key,
        status=Status.QUEUED,
        attempt=0,
    )
    if not started_run.replayed:
        _publish_and_enqueue(started_run.run, opening(started_run.run))
    return started_run


def resume(*, user: User, run_id: UUID) -> tuple[run_services.StartedRun, int]:
    """Resume a failed chain from the step that failed.

    Raises:
        NotFound: no such run, or another user's.
        RunNotResumable: the run is an agent's, under way, or has not failed.
        EventsExpired: the run's input is no longer kept.
        UnknownAgent, EmailNotVerified, ProRequired, ProviderNotConfigured, SpendLimitReached, QuotaExceeded,
            RateLimited, ConcurrencyLimitReached: as for a new chain; the quota only if the run is not charged.
        ServiceUnavailable: event logs have no room; or the queue cannot be reached, and the run stays failed.
    """
    run = run_services.get(user=user, run_id=run_id)
    if not run.chain or run.status not in RESUMABLE:
        raise RunNotResumable()
    text = texts.load_text(run)
    if text is None:
        raise EventsExpired()
    agent_services.require_access(user, [agent_services.get_agent(slug) for slug in run.steps])
    own = provider_keys.keyring(user.pk)
    [target, *_] = agent_services.targets_for_user(
        user, agent_services.resolve_target(run.provider, run.model, own), own
    )
    capacity.require()
    run.own_key = target.provider.own_key
    before = text.events.encode().splitlines()
    with quota.audit_refusals(user):
        usage = _requeue(run)
    done = [step.position for step in chain_steps.load(run) if step.status == Status.SUCCEEDED]
    _publish_and_enqueue(run, [events.chain_start(run, fromStep=max(done, default=0) + 1)], before)
    return run_services.StartedRun(run, usage), len(before)


def _find_preset(chain: str | None) -> ChainPreset:
    preset = presets.current().get(chain or "")
    missing = presets.missing_agents(preset) if preset else []
    if preset and not missing:
        return preset
    message = f"There is no chain {chain!r}."
    if missing:
        message = f"The chain {chain!r} cannot be run now: {', '.join(missing)} is disabled or deleted."
    raise UnknownChain(message, available=[each.slug for each in presets.list_offered()])


@transaction.atomic
def _requeue(run: Run) -> quota.Usage:
    # An execution is reserved only if none is charged and the run is not exempt.
    now, activity = datetime.now(UTC), start_limits.lock_owner(run.user)
    fresh: dict[str, Any] = {"error_code": "", "provider_status": None, "finished_at": None, "losses": 0}
    fresh |= {"cancel_requested_at": None, "cancelled_by_staff": False, "own_key": run.own_key}
    failed = Run.objects.filter(pk=run.pk, status__in=RESUMABLE, charge=run.charge, attempt=run.attempt)
    if not failed.update(status=Status.QUEUED, heartbeat_at=Now(), **fresh):
        raise RunNotResumable()
    exempt, taken = quota.is_exempt(run.user, own_key=run.own_key), run.charge in (Charge.RESERVED, Charge.SETTLED)
    usage = quota.current_usage(run.user, now) if exempt or taken else quota.reserve(run.user, now, chain=True)
    start_limits.count_start(run.user, activity)
    if not taken:
        charge = Charge.EXEMPT if exempt else Charge.RESERVED
        Run.objects.filter(pk=run.pk).update(charge=charge, charged_month=usage.month)
    return usage


def _publish_and_enqueue(run: Run, opening: list[RunEvent], before: Sequence[bytes] = ()) -> None:
    # Write the first events to the run's log, and enqueue the run.
    # The log has fewer events than `before` if it has expired or Valkey was down.
    lines = [*before, *map(encode, opening)]
    try:
        logged = len(event_loop.submit(log.read(run.pk)).result())
        event_loop.submit(log.append(log.AppendRequest(run.pk, logged, lines[logged:], run.attempt))).result()
        queue.enqueue(run.pk)
    except queue.UNREACHABLE as e:
        _fail(run, lines)
        raise ServiceUnavailable(QUEUE_UNAVAILABLE, retry_after=RETRY_AFTER_S) from e


def _fail(run: Run, lines: list[bytes]) -> None:
    # End the run as failed; if a worker has taken it after all, the worker goes on.
    error = ServiceUnavailable(QUEUE_UNAVAILABLE, retry_after=RETRY_AFTER_S)
    outcome = outcomes.Outcome(
        Status.FAILED,
        run.provider,
        run.model,
        failure=outcomes.Failure(error.code, str(error)),
        events=texts.join_events([*lines, encode(outcomes.error_event(error))]),
        unfinished=(Status.QUEUED,),
        **outcomes.summarize_log(run, lines),
    )
    outcomes.finish(run, outcome)
