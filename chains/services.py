"""The presets, and the start of a chain."""

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any
from uuid import UUID

import orjson
from django.db import transaction
from django.db.models.functions import Now

from accounts.idempotency import RequestKey
from accounts.models import User
from agents import grounding, provider_keys
from agents import services as agent_services
from billing import quota
from chains import events, presets, queue
from chains.errors import ChainTooLong, UnknownChain
from chains.models import CUSTOM, LONGEST, ChainPreset
from lunaos.errors import ServiceUnavailable
from lunaos.infra import event_loop
from runs import outcomes, texts
from runs import services as run_services
from runs.errors import EventsExpired, RunNotResumable
from runs.eventlog import capacity, log
from runs.eventlog.recorder import Event
from runs.metering import start_limits
from runs.models import Charge, Run, Status

RESUMABLE = (Status.FAILED, Status.INTERRUPTED)
RETRY_S = 5
NOBODY_TAKES_IT = "Chains cannot be taken at the moment. Try again in a few seconds."


def list_chains() -> list[dict[str, object]]:
    """The presets that can be run, each with the tier that it takes."""
    return [
        {
            "id": preset.slug,
            "name": preset.name,
            "description": preset.description,
            "steps": list(preset.steps),
            "tier": presets.tier(preset),
        }
        for preset in presets.offered()
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
) -> run_services.Begun:
    """Check everything that can be checked, reserve one execution, write the run and hand it to the workers.

    Args:
        chain, steps: a preset's id, or the slugs of agents; one of the two.
        provider, model: as the request names them, for all steps; None takes the defaults.
        started: when the request came in, on the `time.perf_counter` clock.
        repository: whose best passages every step is to be given; None for none.

    Raises:
        ChainTooLong, UnknownProvider, UnknownModel, UnknownChain, UnknownAgent, UnknownRepository, EmailNotVerified,
        ProRequired, ProviderNotConfigured, ProviderKeyUnreadable, SpendLimitReached, EmbeddingsUnavailable,
        IdempotencyConflict, QuotaExceeded, RateLimited, ConcurrencyLimitReached: in this order.
        ServiceUnavailable: the queue cannot be reached; the execution is given back.
    """
    if earlier := run_services.begun_before(user=user, idempotency_key=idempotency_key):
        return earlier
    if steps and len(steps) > LONGEST:
        raise ChainTooLong()
    own = provider_keys.keyring(user.pk)
    asked = agent_services.resolve_target(provider, model, own)
    experts = [agent_services.get_agent(slug) for slug in steps or _preset(chain).steps]
    grounding.require_repository(user, repository)
    agent_services.require_access(user, experts)
    targets = agent_services.targets_for_user(user, asked, own)
    grounded = grounding.search_repository(
        user=user, repository=repository, context=context, experts=experts, targets=targets
    )
    opening = partial(events.opening, grounded=[grounded.event] if grounded else [])
    begun = run_services.begin(
        user=user,
        opening=opening,
        text=grounded.added_to(context) if grounded else context,
        idempotency_key=idempotency_key,
        chain=chain or CUSTOM,
        steps=[expert.slug for expert in experts],
        provider=asked.provider.name,
        model=asked.model,
        own_key=targets[0].provider.own_key,
        request_id=request_id,
        age_s=time.perf_counter() - started,
        status=Status.QUEUED,
        attempt=0,
    )
    if not begun.replayed:
        _hand_over(begun.run, opening(begun.run))
    return begun


def resume(*, user: User, run_id: UUID) -> tuple[run_services.Begun, int]:
    """Take a failed chain up again from the step that failed.

    Returns:
        The run, and the position of its last event before.

    Raises:
        NotFound: no such run, or another user's.
        RunNotResumable: it is an agent's, under way, or has not failed.
        EventsExpired: what went into it is not kept any more.
        UnknownAgent, EmailNotVerified, ProRequired, ProviderNotConfigured, SpendLimitReached, QuotaExceeded,
            RateLimited, ConcurrencyLimitReached: as for a new chain; the quota only where nothing had been charged.
        ServiceUnavailable: event logs have no room; or the queue cannot be reached, and the run stays failed.
    """
    run = run_services.get(user=user, run_id=run_id)
    if not run.chain or run.status not in RESUMABLE:
        raise RunNotResumable()
    text = texts.text_of(run)
    if text is None:
        raise EventsExpired()
    agent_services.require_access(user, [agent_services.get_agent(slug) for slug in run.steps])
    own = provider_keys.keyring(user.pk)
    [asked, *_] = agent_services.targets_for_user(
        user, agent_services.resolve_target(run.provider, run.model, own), own
    )
    capacity.require()
    run.own_key = asked.provider.own_key
    before = text.events.encode().splitlines()
    with quota.refusals_recorded(user):
        usage = _take_up(run)
    done = [step.position for step in texts.steps_of(run) if step.status == Status.SUCCEEDED]
    _hand_over(run, [events.chain_start(run, fromStep=max(done, default=0) + 1)], before)
    return run_services.Begun(run, usage), len(before)


def _preset(chain: str | None) -> ChainPreset:
    """Raises UnknownChain, with what there is, also where an agent is missing that the request has not named."""
    preset = presets.current().get(chain or "")
    missing = presets.missing(preset) if preset else []
    if preset and not missing:
        return preset
    said = f"There is no chain {chain!r}."
    if missing:
        said = f"The chain {chain!r} cannot be run now: {', '.join(missing)} is disabled or gone."
    raise UnknownChain(said, available=[each.slug for each in presets.offered()])


@transaction.atomic
def _take_up(run: Run) -> quota.Usage:
    """Back from failed to queued, once; a new execution only where none is charged and it is not exempt."""
    now, standing = datetime.now(UTC), start_limits.lock(run.user)
    fresh: dict[str, Any] = {"error_code": "", "provider_status": None, "finished_at": None, "losses": 0}
    fresh |= {"cancel_requested_at": None, "cancelled_by_staff": False, "own_key": run.own_key}
    failed = Run.objects.filter(pk=run.pk, status__in=RESUMABLE, charge=run.charge, attempt=run.attempt)
    if not failed.update(status=Status.QUEUED, heartbeat_at=Now(), **fresh):
        raise RunNotResumable()
    exempt, taken = quota.exempts(run.user, own_key=run.own_key), run.charge in (Charge.RESERVED, Charge.SETTLED)
    usage = quota.current(run.user, now) if exempt or taken else quota.reserve(run.user, now, chain=True)
    start_limits.take(run.user, standing)
    if not taken:
        charge = Charge.EXEMPT if exempt else Charge.RESERVED
        Run.objects.filter(pk=run.pk).update(charge=charge, charged_month=usage.month)
    return usage


def _hand_over(run: Run, opening: list[Event], before: Sequence[bytes] = ()) -> None:
    """Begin the run's stream and put it into the queue.

    Args:
        opening: what the stream says before the first step.
        before: its events so far; the log holds fewer where it has expired or Valkey was down.

    Raises:
        ServiceUnavailable: the queue cannot be reached; the run has failed then.
    """
    told = [*before, *map(orjson.dumps, opening)]
    try:
        logged = len(event_loop.submit(log.read(run.pk)).result())
        event_loop.submit(log.append(log.Append(run.pk, logged, told[logged:], run.attempt))).result()
        queue.enqueue(run.pk)
    except queue.DOWN as e:
        _give_up(run, told)
        raise ServiceUnavailable(NOBODY_TAKES_IT, retry_after=RETRY_S) from e


def _give_up(run: Run, told: list[bytes]) -> None:
    """Leave the run as failed, with what it had; where a worker has got it after all, it goes on and is found later."""
    error = ServiceUnavailable(NOBODY_TAKES_IT, retry_after=RETRY_S)
    outcome = outcomes.Outcome(
        Status.FAILED,
        run.provider,
        run.model,
        failure=outcomes.Failure(error.code, str(error)),
        events=texts.joined([*told, orjson.dumps(outcomes.failure(error))]),
        unfinished=(Status.QUEUED,),
        **outcomes.so_far(run, told),
    )
    outcomes.finish(run, outcome)
