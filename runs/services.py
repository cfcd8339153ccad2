"""Start, look up and cancel runs; `runs.outcomes` ends them."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import connection, transaction
from django.db.models import Case, F, Value, When
from django.db.models.functions import Coalesce, Now

from accounts import idempotency
from accounts.models import User
from apikeys.models import ApiKey
from billing import quota, tiers
from lunaos.errors import NotFound
from lunaos.event_lines import encode
from lunaos.infra import redis, sql
from runs import outcomes, texts
from runs.eventlog import capacity
from runs.eventlog.recorder import Recorder, RunEvent
from runs.metering import start_limits
from runs.models import UNFINISHED, Charge, Run, Status
from runs.recovery import liveness

CANCEL_CHANNEL = "lunaos:cancel"

# One statement, hence one round trip and one transaction (docs/adr/0004).
_COLUMNS = [field.attname for field in Run._meta.concrete_fields]
_VALUES = {"steps": "%(steps)s::varchar[]", "heartbeat_at": "now()"}
_SHARED = ("user_id",)  # given by the parameters of the quota
_WRITE = f"""
    run AS (
        INSERT INTO runs_run ({", ".join(_COLUMNS)})
        SELECT {", ".join(_VALUES.get(column, f"%({column})s") for column in _COLUMNS)} FROM reserved
        RETURNING id, expires_at
    ),
    text AS (
        INSERT INTO runs_text (run_id, expires_at, input, output, events)
        SELECT id, expires_at, %(input)s, '', %(events)s FROM run
    ),
    counted AS ({start_limits.COUNT_START})
    SELECT under_way, starts, executions, chains, told_percent FROM standing LEFT JOIN reserved ON true
"""  # noqa: S608 - the columns are the model's
_LOCK_OWNER = f"WITH standing AS MATERIALIZED ({start_limits.LOCK_OWNER})"
CREATE_RUN = f"{_LOCK_OWNER}, reserved AS ({quota.reservation_sql(start_limits.WITHIN_LIMITS)}), {_WRITE}"
CREATE_EXEMPT_RUN = f"{_LOCK_OWNER}, reserved AS ({quota.usage_sql(start_limits.WITHIN_LIMITS)}), {_WRITE}"


@dataclass(frozen=True, slots=True)
class StartedRun:
    run: Run
    usage: quota.Usage
    replayed: bool = False
    recorder: Recorder | None = None  # the run's recorder if this process executes it

    @property
    def headers(self) -> dict[str, str]:
        replay = {"Idempotency-Replayed": "true"} if self.replayed else {}
        return {"X-Run-Id": str(self.run.pk), **self.usage.headers, **replay}


def find_replay(*, user: User, idempotency_key: idempotency.RequestKey | None) -> StartedRun | None:
    """Return the run of an earlier request with the same idempotency key.

    Raises:
        IdempotencyConflict: the key was used for another request.
    """
    earlier = idempotency.find(user=user, key=idempotency_key) if idempotency_key else None
    return _replay(user, earlier) if earlier else None


def create(
    *,
    user: User,
    text: str,
    idempotency_key: idempotency.RequestKey | None = None,
    opening: Callable[[Run], Sequence[RunEvent]] = lambda run: (),
    age_s: float = 0.0,
    api_key: ApiKey | None = None,
    **fields: Any,
) -> StartedRun:
    """Reserve an execution and write its run, in one statement.

    Args:
        opening: returns the events before the execution; they are stored in case the log is lost.
        age_s: seconds since the request arrived, which is the run's time of creation.
        api_key: the key of the request; None for a token.
        fields: of the run: agent or chain and steps, provider, model, own_key, request_id, status.

    Raises:
        ServiceUnavailable: the event logs have no room for a new run.
        QuotaExceeded, RateLimited, ConcurrencyLimitReached, IdempotencyConflict: nothing is written then.
    """
    # An exempt run reserves nothing.
    capacity.require()
    now = datetime.now(UTC)
    allowance = quota.reservation_parameters(user, now, chain="chain" in fields)
    run = Run(
        user=user,
        charged_month=allowance["month"],
        created_at=now - timedelta(seconds=age_s),
        heartbeat_at=now,
        executor=None if "chain" in fields else liveness.PROCESS_NUMBER,
        expires_at=now + timedelta(days=tiers.retention_days(user.tier)),
        api_key_id=api_key.pk if api_key else None,
        api_key_prefix=api_key.prefix if api_key else "",
        **fields,
    )
    if quota.is_exempt(user, own_key=run.own_key):
        run.charge = Charge.EXEMPT
    content = {"input": text, "events": texts.join_events(map(encode, opening(run)))}
    with quota.audit_refusals(user):
        return _create(run, allowance, content, idempotency_key)


def _create(
    run: Run, allowance: dict[str, Any], content: dict[str, str], idempotency_key: idempotency.RequestKey | None
) -> StartedRun:
    if idempotency_key is None:
        return StartedRun(run, _insert(run, allowance, content))
    user = run.user
    with transaction.atomic():
        earlier = idempotency.claim(user=user, key=idempotency_key, result=str(run.pk))
        if earlier and (replay := _replay(user, earlier)):
            return replay
        if earlier:
            idempotency.replace(user=user, key=idempotency_key, result=str(run.pk))
        return StartedRun(run, _insert(run, allowance, content))


def _replay(user: User, run_id: str) -> StartedRun | None:
    run = Run.objects.filter(pk=run_id).first()
    # A run that failed without text and charge does not count, so that the same key can retry it.
    if run is None or (run.status in (Status.FAILED, Status.INTERRUPTED) and _was_not_charged(run)):
        return None
    return StartedRun(run, quota.current_usage(user, datetime.now(UTC)), replayed=True)


def _was_not_charged(run: Run) -> bool:
    return run.charge == Charge.RELEASED or (run.charge == Charge.EXEMPT and run.first_token_ms is None)


def _insert(run: Run, allowance: dict[str, Any], content: dict[str, str]) -> quota.Usage:
    row = {column: getattr(run, column) for column in _COLUMNS if column not in _SHARED}
    exempt, limits = run.charge == Charge.EXEMPT, start_limits.sql_parameters(run.user)
    parameters = sql.merge_parameters(row, allowance, limits, content)
    with connection.cursor() as cursor:
        cursor.execute(CREATE_EXEMPT_RUN if exempt else CREATE_RUN, parameters)
        under_way, started, *reserved = cursor.fetchone()
    if reserved[0] is not None:
        return quota.usage_after_reservation(run.user, allowance, tuple(reserved), exempt=exempt)
    refusal = start_limits.refusal(run.user, start_limits.OwnerActivity(under_way, started), limits)
    if refusal and (exempt or quota.current_usage(run.user, datetime.now(UTC)).remaining):
        raise refusal
    # Raises QuotaExceeded. If both limits apply, the month is the longer wait.
    return quota.usage_after_reservation(run.user, allowance, None)


def get(*, user: User, run_id: UUID) -> Run:
    """Return a run of a user; another user's run is NotFound, too."""
    run = Run.objects.filter(pk=run_id, user=user).first()
    if run is None:
        raise NotFound("There is no such run.")
    return run


def cancel(run: Run, *, by_staff: bool = False) -> Run:
    """Request a run's end; return the run with its new state, ended or not.

    Args:
        by_staff: True if not the owner cancels; the execution then counts only if text was shown.
    """
    unfinished = Run.objects.filter(pk=run.pk, status__in=UNFINISHED)
    if unfinished.update(
        cancelled_by_staff=Case(When(cancel_requested_at=None, then=Value(by_staff)), default=F("cancelled_by_staff")),
        cancel_requested_at=Coalesce("cancel_requested_at", Now()),
    ):
        run.refresh_from_db()
        # The executor gets this notice within milliseconds, else it reads the column at its next heartbeat.
        with suppress(redis.RedisError, OSError):
            redis.client().publish(CANCEL_CHANNEL, str(run.pk))
            if run.status == Status.QUEUED:
                outcomes.end_from_log(run, Status.CANCELLED, unfinished=(Status.QUEUED,))
    run.refresh_from_db()
    return run
