"""The end of runs: written once, by the executor or from outside."""

import logging
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import partial
from typing import Any

import orjson
from django.conf import settings
from django.db import connection, transaction

from billing import quota
from lunaos.errors import LunaError
from lunaos.event_lines import TERMINAL, encode, type_of
from lunaos.infra import event_loop
from lunaos.infra.observability import metrics
from lunaos.infra.redis import RedisError
from runs import chain_steps, texts
from runs.errors import RunInterrupted
from runs.eventlog import log
from runs.eventlog.recorder import RunEvent
from runs.metering import estimates, spending
from runs.metering.estimates import Estimate
from runs.metering.tokens import TokenUsage
from runs.models import UNFINISHED, Charge, Run, RunStep, Status
from runs.recovery import leases, outages

CANCELLED_EVENT: RunEvent = {"type": "cancelled"}
# The input of a run that produced nothing serves only to find the fault, so little of it is kept, for few days.
MAX_FAILED_INPUT_BYTES, MAX_FAILED_INPUT_DAYS = 4096, 7  # of the input of a run that produced nothing
MAX_DURATION_MS = 2**31 - 1  # the column's limit, 24 days; a chain that is resumed late may exceed it
logger = logging.getLogger(__name__)

# `left` counts characters, of at most four bytes each. The order of the CASE spares reading most inputs.
_STORED_INPUT = f"""
    CASE WHEN NOT %(short_input)s OR octet_length(input) <= {MAX_FAILED_INPUT_BYTES} THEN input
        WHEN octet_length(left(input, {MAX_FAILED_INPUT_BYTES})) <= {MAX_FAILED_INPUT_BYTES}
            THEN left(input, {MAX_FAILED_INPUT_BYTES})
        ELSE left(input, {MAX_FAILED_INPUT_BYTES // 4})
    END
"""
# One statement, hence one round trip and one transaction (docs/adr/0004).
FINISH = f"""
    WITH before AS ({spending.LOCK_RUN}),
    run AS (
        UPDATE runs_run SET
            status = %(status)s, provider = %(provider)s, model = %(model)s,
            error_code = %(error_code)s, provider_status = %(provider_status)s,
            input_tokens = %(input_tokens)s, output_tokens = %(output_tokens)s,
            reasoning_tokens = %(reasoning_tokens)s, cache_read_tokens = %(cache_read_tokens)s,
            cache_write_tokens = %(cache_write_tokens)s, tokens_estimated = %(tokens_estimated)s,
            cost_usd = %(cost_usd)s, cost_known = %(cost_known)s,
            finished_at = %(finished_at)s, duration_ms = %(duration_ms)s, first_token_ms = %(first_token_ms)s,
            expires_at = CASE WHEN %(short_lived)s
                THEN least(before.expires_at, now() + make_interval(days => {MAX_FAILED_INPUT_DAYS}))
                ELSE before.expires_at
            END,
            charge = CASE
                WHEN charge = 'exempt' THEN 'exempt'
                WHEN charge = 'reserved' AND NOT (%(billable)s OR (%(cancelled_when_asked)s AND NOT cancelled_by_staff))
                    THEN 'released'
                ELSE 'settled'
            END
        FROM before
        WHERE runs_run.id = before.id AND status = ANY(%(unfinished)s) AND attempt = COALESCE(%(attempt)s, attempt)
            AND (%(silent_s)s::float IS NULL OR heartbeat_at < now() - make_interval(secs => %(silent_s)s))
        RETURNING runs_run.id, runs_run.expires_at, before.expires_at AS expired_before, charge, charged_month, user_id,
            own_key, runs_run.cost_usd - before.cost_usd AS added_usd
    ),
    text AS (
        UPDATE runs_text
        SET output = %(output)s, events = %(events)s, error = %(error)s, last_attempt = %(last_attempt)s::jsonb,
            expires_at = run.expires_at, input = {_STORED_INPUT}
        FROM run WHERE run_id = run.id AND runs_text.expires_at = run.expired_before
    ),
    spending AS ({spending.ADD_COST})
    SELECT charge, charged_month FROM run
"""  # noqa: S608 - constants


@dataclass(frozen=True, slots=True)
class Failure:
    # `runs.recovery.pending_outcomes` stores the names of these fields: renaming one breaks a rolling restart.
    code: str  # error code of the contract
    sentence: str  # the error message that the client got
    provider_status: int | None = None  # HTTP status of the provider's response; None without one
    # The last request that failed: `provider`, `model`, `code`, `status`, and its redacted text `said`
    last_attempt: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended, and whether its execution counts (CONTRACT, section 4)."""

    # `runs.recovery.pending_outcomes` stores the names of these fields: renaming one breaks a rolling restart.
    status: Status
    provider: str
    model: str
    failure: Failure | None = None  # the reason, for a failed run
    output: str = ""  # the text produced; kept also if the run failed later
    shown: bool = False  # whether any text of the answer was shown; then the execution counts
    counted: bool = False  # whether the request itself caused the failure; then the execution counts without any text
    # Whether a provider was sent the request; then the execution counts if its owner cancelled the run
    asked: bool = False
    tokens: TokenUsage = field(default_factory=TokenUsage)
    cost_usd: Decimal = Decimal(0)
    cost_known: bool = True  # False if the price table lacks a model that was used
    # When the answer ended, however long the write of the outcome takes
    ended_at: datetime = field(default_factory=partial(datetime.now, UTC))
    first_token_ms: int | None = None  # from the run's creation to the first text; None without text
    events: str = ""  # all events of the run, one JSON object a line, the last one included
    attempt: int | None = None  # the execution that ends the run, refused if another has taken over; None for any
    unfinished: tuple[Status, ...] = UNFINISHED  # the states from which the run may be ended
    silent_s: float | None = None  # refuse if the executor's last heartbeat is younger, in seconds; None does not check

    @property
    def billable(self) -> bool:
        """Return whether the execution counts regardless of a cancellation."""
        return self.shown or self.counted

    def duration_s(self, run: Run) -> float:
        # The clocks of the creating and the ending process may differ.
        return max(0.0, (self.ended_at - run.created_at).total_seconds())


def error_event(error: LunaError) -> RunEvent:
    retry = {"retryAfter": error.retry_after} if error.retry_after is not None else {}
    return {"type": "error", "error": str(error), "code": error.code, **retry}


def finish(run: Run, outcome: Outcome) -> bool:
    """Write a run's end, settle or release its execution; return False if ended."""
    written = _write(run, outcome) if outcome.billable else _write_and_release(run, outcome)
    if written:
        metrics.RUNS.labels("chain" if run.chain else "agent", str(outcome.status)).inc()
    return written is not None


@transaction.atomic
def _write_and_release(run: Run, outcome: Outcome) -> tuple[str, date] | None:
    written = _write(run, outcome)
    # In the same transaction as the end: a crash in between would lose the user's execution.
    if written and written[0] == Charge.RELEASED:
        quota.release(user_id=run.user_id, month=written[1], chain=bool(run.chain))
    return written


def _write(run: Run, outcome: Outcome) -> tuple[str, date] | None:
    failed = outcome.failure or Failure("", "")
    values = {
        **{name: getattr(outcome, name) for name in ("status", "provider", "model", "events", "attempt", "silent_s")},
        **outcome.tokens.columns,
        **_time_columns(run, outcome),
        "cost_usd": outcome.cost_usd,
        "cost_known": outcome.cost_known,
        "id": run.pk,
        "shard": spending.shard(run.pk),
        "short_input": _produced_nothing(run, outcome),
        "short_lived": _produced_nothing(run, outcome) and not run.chain,  # steps share the run's expires_at
        "billable": outcome.billable,
        "cancelled_when_asked": outcome.asked and outcome.status == Status.CANCELLED,
        "error_code": failed.code,
        "error": texts.strip_nul(failed.sentence),
        "provider_status": failed.provider_status,
        "last_attempt": _as_jsonb(failed.last_attempt),
        "output": texts.strip_nul(outcome.output),
        "unfinished": [str(status) for status in outcome.unfinished],
    }
    with connection.cursor() as cursor:
        cursor.execute(FINISH, values)
        return cursor.fetchone()


def _produced_nothing(run: Run, outcome: Outcome) -> bool:
    # A failed chain may be resumed, and needs its input for that.
    ended = (Status.CANCELLED,) if run.chain else (Status.FAILED, Status.CANCELLED, Status.INTERRUPTED)
    return outcome.status in ended and not outcome.shown


def _time_columns(run: Run, outcome: Outcome) -> dict[str, Any]:
    duration_ms = min(round(outcome.duration_s(run) * 1000), MAX_DURATION_MS)
    first_ms = outcome.first_token_ms
    return {
        # The clocks of nodes differ: no run may end before it began, nor show text after its end.
        "finished_at": max(run.created_at, outcome.ended_at),
        "duration_ms": duration_ms,
        "first_token_ms": None if first_ms is None else min(first_ms, duration_ms),
    }


def _as_jsonb(members: dict[str, Any] | None) -> str | None:
    if members is None:
        return None
    storable = {name: texts.strip_nul(value) if isinstance(value, str) else value for name, value in members.items()}
    return orjson.dumps(storable).decode()


def end_from_log(
    run: Run,
    status: Status,
    *,
    error: LunaError | None = None,
    unfinished: Sequence[Status] = UNFINISHED,
    silent_s: float | None = None,
) -> bool:
    """End a run from outside, with the content of its log and steps.

    Returns:
        False if the run had ended already, or if its executor is alive.

    Raises:
        RedisError, OSError: the log cannot be read, so the run's output is unknown.
    """
    lines = [line for _, line in event_loop.submit(log.read(run.pk)).result()]
    last = encode(error_event(error) if error else CANCELLED_EVENT)
    provider, model = estimates.find_answering_model(run, lines)
    outcome = Outcome(
        status,
        provider,
        model,
        failure=Failure(error.code, str(error)) if error else None,
        events=texts.join_events([*lines, last]),
        attempt=run.attempt,
        unfinished=tuple(unfinished),
        silent_s=silent_s,
        **summarize_log(run, lines),
    )
    ended = finish(run, outcome)
    if ended:
        with suppress(RedisError, OSError):  # readers find the last event in the database
            ttl_s = log.choose_ttl_s(ended=True)
            event_loop.submit(log.append(log.AppendRequest(run.pk, len(lines), [last], run.attempt, ttl_s))).result()
    return ended


def summarize_log(run: Run, lines: list[bytes]) -> dict[str, Any]:
    """Return what a run has produced and cost so far, as members of `Outcome`."""
    steps = chain_steps.load(run) if run.chain else []
    return {
        "shown": any(step.output.strip() for step in steps) or texts.has_text(lines),
        "asked": any(type_of(line) == "step_start" for line in lines),
        "first_token_ms": run.first_token_ms,
        **_add_estimate(
            sum_steps(steps) if steps else {"output": texts.join_chunks(lines)},
            estimates.estimate_open_answer(run, lines, steps),
        ),
    }


def _add_estimate(sums: dict[str, Any], estimate: Estimate | None) -> dict[str, Any]:
    if estimate is None:
        return sums
    return {
        **sums,
        "tokens": sums.get("tokens", TokenUsage()) + estimate.tokens,
        "cost_usd": sums.get("cost_usd", Decimal(0)) + estimate.cost_usd,
        "cost_known": sums.get("cost_known", True) and estimate.cost_known,
    }


def sum_steps(steps: Sequence[RunStep]) -> dict[str, Any]:
    """Return the output and the sums of a chain's steps, as members of `Outcome`."""
    return {
        "output": steps[-1].output if steps else "",
        "tokens": sum((TokenUsage.from_row(step) for step in steps), TokenUsage()),
        "cost_usd": sum((step.cost_usd for step in steps), Decimal(0)),
        "cost_known": all(step.cost_known for step in steps),
    }


def interrupt(run: Run, silent_s: float) -> bool:
    """End a run without heartbeats for so many seconds; see `end_from_log`."""
    lines = [line for _, line in event_loop.submit(log.read(run.pk)).result()]
    # The executor had appended the run's end, and died before it wrote that end to the database.
    if lines and type_of(lines[-1]) in TERMINAL and not run.chain:
        return finish(run, replace(_outcome_from_log(run, lines), silent_s=silent_s))
    if run.cancel_requested_at:
        return end_from_log(run, Status.CANCELLED, silent_s=silent_s)
    return end_from_log(run, Status.INTERRUPTED, error=RunInterrupted(), silent_s=silent_s)


def _outcome_from_log(run: Run, lines: list[bytes]) -> Outcome:
    last, before = orjson.loads(lines[-1]), lines[:-1]
    provider, model = estimates.find_answering_model(run, lines)
    known = {**summarize_log(run, before), "events": texts.join_events(lines), "attempt": run.attempt}
    if last["type"] == "done":
        cost = {"cost_usd": Decimal(last["cost"].removeprefix("$")), "cost_known": last.get("costKnown", True)}
        return Outcome(
            Status.SUCCEEDED, provider, model, **{**known, **cost, "tokens": TokenUsage.from_json(last["tokens"])}
        )
    if last["type"] == "error":
        status = Status.INTERRUPTED if last["code"] == RunInterrupted.code else Status.FAILED
        return Outcome(status, provider, model, failure=Failure(last["code"], last["error"]), **known)
    return Outcome(Status.CANCELLED, provider, model, **known)


def end_abandoned(silent_s: float) -> int:
    """End agents' runs whose executor has died; return how many."""
    ended = 0
    # Chains are not ended but requeued (`chains.recovery`).
    runs = outages.run_query(lambda: list(leases.abandoned(silent_s).filter(chain="")))
    if not runs or outages.is_recent():
        return 0
    for run in runs:
        try:
            ended += interrupt(run, min(silent_s, settings.DEAD_EXECUTOR_AFTER_S))
        except Exception:
            logger.exception("Run %s cannot be ended", run.pk)
    return ended
