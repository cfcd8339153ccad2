"""How runs end: written once, by whoever executes them or from outside."""

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
from lunaos.infra import event_loop, metrics
from lunaos.infra.redis import RedisError
from runs import leases, outages, texts
from runs.errors import RunInterrupted
from runs.eventlog import log
from runs.eventlog.recorder import RunEvent
from runs.metering import estimates, spending
from runs.metering.estimates import Estimate
from runs.metering.tokens import TokenUsage
from runs.models import UNFINISHED, Charge, Run, RunStep, Status

CANCELLED_EVENT: RunEvent = {"type": "cancelled"}
MAX_FAILED_INPUT_BYTES, MAX_FAILED_INPUT_DAYS = 4096, 7  # of an input that came to nothing
AGENT_TERMINAL = (b'{"type":"done"', b'{"type":"error"', b'{"type":"cancelled"')  # of an agent's run
MAX_DURATION_MS = 2**31 - 1  # what the column holds: 24 days, which a chain that is resumed late may pass
logger = logging.getLogger(__name__)

# In characters, of which none takes more than four bytes; in the CASE's order, so that most inputs are not even read.
_STORED_INPUT = f"""
    CASE WHEN NOT %(short_input)s OR octet_length(input) <= {MAX_FAILED_INPUT_BYTES} THEN input
        WHEN octet_length(left(input, {MAX_FAILED_INPUT_BYTES})) <= {MAX_FAILED_INPUT_BYTES}
            THEN left(input, {MAX_FAILED_INPUT_BYTES})
        ELSE left(input, {MAX_FAILED_INPUT_BYTES // 4})
    END
"""
# One statement and so one round trip and one transaction.
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
    """Why a run failed.

    Args:
        code: of the contract.
        sentence: what the client was told.
        provider_status: HTTP status of the provider's answer, None where it gave none.
        last_attempt: the last request that failed: `provider`, `model`, `code`, `status`, and its redacted text `said`.
    """

    code: str
    sentence: str
    provider_status: int | None = None
    last_attempt: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended, and what decides whether its execution counts (CONTRACT, section 4).

    Args:
        failure: why, for a run that failed.
        output: what was produced; kept also when the run failed later on.
        shown: whether any text of the answer was shown; then the execution counts.
        counted: whether the request itself caused the failure; then the execution counts without any text.
        asked: whether a provider was sent the request; then the execution counts where its owner cancelled it.
        cost_known: False where the price table lacks a model that was used.
        ended_at: when the answer ended, however long it takes to write that down.
        first_token_ms: from the run's creation to the first piece of answer, None where none came.
        events: all of the run's events, one JSON object a line, the last one included.
        attempt: the execution that ends it, refused where another has taken over; None for any.
        unfinished: the states it may be ended from.
        silent_s: refused where its executor has given a sign of life within so many seconds; None does not ask.
    """

    status: Status
    provider: str
    model: str
    failure: Failure | None = None
    output: str = ""
    shown: bool = False
    counted: bool = False
    asked: bool = False
    tokens: TokenUsage = field(default_factory=TokenUsage)
    cost_usd: Decimal = Decimal(0)
    cost_known: bool = True
    ended_at: datetime = field(default_factory=partial(datetime.now, UTC))
    first_token_ms: int | None = None
    events: str = ""
    attempt: int | None = None
    unfinished: tuple[Status, ...] = UNFINISHED
    silent_s: float | None = None

    @property
    def billable(self) -> bool:
        """Whether the execution counts, whoever ended it."""
        return self.shown or self.counted

    def duration_s(self, run: Run) -> float:
        """Return the seconds from the run's creation to its end."""
        return max(0.0, (self.ended_at - run.created_at).total_seconds())


def error_event(error: LunaError) -> RunEvent:
    """The `error` event."""
    retry = {"retryAfter": error.retry_after} if error.retry_after is not None else {}
    return {"type": "error", "error": str(error), "code": error.code, **retry}


def finish(run: Run, outcome: Outcome) -> bool:
    """Write how a run ended, and settle or release its execution.

    Returns:
        False where somebody else had finished it: the first one counts, and the quota changes once.
    """
    written = _write(run, outcome) if outcome.billable else _write_and_release(run, outcome)
    if written:
        metrics.RUNS.labels("chain" if run.chain else "agent", str(outcome.status)).inc()
    return written is not None


@transaction.atomic
def _write_and_release(run: Run, outcome: Outcome) -> tuple[str, date] | None:
    """Where the execution counts there is nothing to give back, and `_write` is one statement."""
    written = _write(run, outcome)
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
        "short_lived": _produced_nothing(run, outcome) and not run.chain,  # whose steps lie where the run expires
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
    """Return whether a run has shown no text and never will, so that its input is of no use but to find the fault.

    A chain that failed may be resumed, and keeps its input for that.
    """
    ended = (Status.CANCELLED,) if run.chain else (Status.FAILED, Status.CANCELLED, Status.INTERRUPTED)
    return outcome.status in ended and not outcome.shown


def _time_columns(run: Run, outcome: Outcome) -> dict[str, Any]:
    """Return the columns of the run's times, which agree with each other also where nodes' clocks do not."""
    duration_ms = min(round(outcome.duration_s(run) * 1000), MAX_DURATION_MS)
    first_ms = outcome.first_token_ms
    return {
        "finished_at": max(run.created_at, outcome.ended_at),
        "duration_ms": duration_ms,
        "first_token_ms": None if first_ms is None else min(first_ms, duration_ms),
    }


def _as_jsonb(found: dict[str, Any] | None) -> str | None:
    if found is None:
        return None
    storable = {name: texts.strip_nul(value) if isinstance(value, str) else value for name, value in found.items()}
    return orjson.dumps(storable).decode()


def end_from_log(
    run: Run,
    status: Status,
    *,
    error: LunaError | None = None,
    unfinished: Sequence[Status] = UNFINISHED,
    silent_s: float | None = None,
) -> bool:
    """End a run from outside its execution, with what its log and its steps hold, and say so in its stream.

    Args:
        error: why, for a run that has not been cancelled.
        unfinished, silent_s: as of `Outcome`.

    Returns:
        False where somebody else had ended it, or executes it still.

    Raises:
        RedisError, OSError: its log cannot be read, so that nobody knows what it has produced.
    """
    lines = [line for _, line in event_loop.submit(log.read(run.pk)).result()]
    last = orjson.dumps(error_event(error) if error else CANCELLED_EVENT)
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
        with suppress(RedisError, OSError):  # readers find it in the database
            ttl_s = log.choose_ttl_s(ended=True)
            event_loop.submit(log.append(log.AppendRequest(run.pk, len(lines), [last], run.attempt, ttl_s))).result()
    return ended


def summarize_log(run: Run, lines: list[bytes]) -> dict[str, Any]:
    """Return what a run has produced and cost, seen from outside: members of `Outcome`.

    Args:
        lines: its events; those of a chain count beside its steps.
    """
    steps = texts.load_steps(run) if run.chain else []
    return {
        "shown": any(step.output.strip() for step in steps) or texts.has_text(lines),
        "asked": any(line.startswith(estimates.STEP_START) for line in lines),
        "first_token_ms": run.first_token_ms,
        **_add_estimate(
            sum_steps(steps) if steps else {"output": texts.join_chunks(lines)},
            estimates.estimate_open_answer(run, lines, steps),
        ),
    }


def _add_estimate(known: dict[str, Any], found: Estimate | None) -> dict[str, Any]:
    """Add what the answer has taken that was under way."""
    if found is None:
        return known
    return {
        **known,
        "tokens": known.get("tokens", TokenUsage()) + found.tokens,
        "cost_usd": known.get("cost_usd", Decimal(0)) + found.cost_usd,
        "cost_known": known.get("cost_known", True) and found.cost_known,
    }


def sum_steps(steps: Sequence[RunStep]) -> dict[str, Any]:
    """Return what a chain's steps have produced and cost together: members of `Outcome`.

    Args:
        steps: those that have ended, in order.
    """
    return {
        "output": steps[-1].output if steps else "",
        "tokens": sum((TokenUsage.from_row(step) for step in steps), TokenUsage()),
        "cost_usd": sum((step.cost_usd for step in steps), Decimal(0)),
        "cost_known": all(step.cost_known for step in steps),
    }


def interrupt(run: Run, silent_s: float) -> bool:
    """End a run whose executor has given no sign of life for so many seconds.

    An agent's run whose log has its last event ends as that says: only the database could not be told.

    Returns:
        False where somebody else had ended it, or executes it after all.

    Raises:
        RedisError, OSError: its log cannot be read.
    """
    lines = [line for _, line in event_loop.submit(log.read(run.pk)).result()]
    if lines and lines[-1].startswith(AGENT_TERMINAL) and not run.chain:
        return finish(run, replace(_outcome_from_log(run, lines), silent_s=silent_s))
    if run.cancel_requested_at:
        return end_from_log(run, Status.CANCELLED, silent_s=silent_s)
    return end_from_log(run, Status.INTERRUPTED, error=RunInterrupted(), silent_s=silent_s)


def _outcome_from_log(run: Run, lines: list[bytes]) -> Outcome:
    """Return how an agent's run ended by the last event of its log."""
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
    """End agents' runs that nobody executes any more, and give back the executions that produced nothing.

    A process that was killed never finishes its runs; its heartbeats stop. Chains are taken over (`chains.recovery`).

    Args:
        silent_s: seconds without a sign of life.

    Returns:
        How many were ended; one that cannot be is left for the next time and does not keep the others.
    """
    ended = 0
    runs = outages.run_query(lambda: list(leases.abandoned(silent_s).filter(chain="")))
    if not runs or outages.is_recent():
        return 0
    for run in runs:
        try:
            ended += interrupt(run, min(silent_s, settings.DEAD_EXECUTOR_AFTER_S))
        except Exception:
            logger.exception("Run %s cannot be ended", run.pk)
    return ended
