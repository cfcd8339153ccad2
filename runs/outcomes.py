"""How runs end: written once, by whoever executes them or from outside."""

import logging
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import orjson
from django.db import connection, transaction

from billing import quota
from lunaos import loop, metrics
from lunaos.errors import LunaError
from lunaos.redis import RedisError
from runs import leases, log, texts
from runs.errors import RunInterrupted
from runs.models import UNFINISHED, Charge, Run, RunStep, Status
from runs.recorder import CHUNK, Event

CANCELLED: Event = {"type": "cancelled"}
LONGEST_MS = 2**31 - 1  # what the column holds: 24 days, which a chain that is resumed late may pass
logger = logging.getLogger(__name__)

# One statement and so one round trip and one transaction.
FINISH = """
    WITH run AS (
        UPDATE runs_run SET
            status = %(status)s, provider = %(provider)s, model = %(model)s, error_code = %(error_code)s,
            input_tokens = %(input_tokens)s, output_tokens = %(output_tokens)s, cost_usd = %(cost_usd)s,
            duration_ms = %(duration_ms)s, first_token_ms = %(first_token_ms)s,
            finished_at = %(now)s,
            charge = CASE
                WHEN charge = 'exempt' THEN 'exempt'
                WHEN charge = 'reserved' AND NOT %(produced)s THEN 'released'
                ELSE 'settled'
            END
        WHERE id = %(id)s AND status = ANY(%(unfinished)s) AND attempt = COALESCE(%(attempt)s, attempt)
            AND (%(silent_s)s::float IS NULL OR heartbeat_at < now() - make_interval(secs => %(silent_s)s))
        RETURNING id, expires_at, charge, charged_month
    ),
    text AS (
        UPDATE runs_text SET output = %(output)s, events = %(events)s FROM run
        WHERE run_id = run.id AND runs_text.expires_at = run.expires_at
    )
    SELECT charge, charged_month FROM run
"""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended.

    Args:
        output: what was produced; kept also when the run failed later on.
        produced: whether any of the answer was told, which is what makes the execution count.
        first_token_ms: from the request to the first piece of answer, None where none came.
        events: all of the run's events, one JSON object a line, the last one included.
        attempt: the execution that ends it, refused where another has taken over; None for any.
        unfinished: the states it may be ended from.
        silent_s: refused where its executor has given a sign of life within so many seconds; None does not ask.
    """

    status: Status
    provider: str
    model: str
    error_code: str = ""
    output: str = ""
    produced: bool = False
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: Decimal = Decimal(0)
    duration_ms: int = 0
    first_token_ms: int | None = None
    events: str = ""
    attempt: int | None = None
    unfinished: tuple[Status, ...] = UNFINISHED
    silent_s: float | None = None


def failure(error: LunaError) -> Event:
    """The `error` event."""
    retry = {"retryAfter": error.retry_after} if error.retry_after is not None else {}
    return {"type": "error", "error": str(error), "code": error.code, **retry}


def finish(run: Run, outcome: Outcome) -> bool:
    """Write how a run ended, and settle or release its execution.

    Returns:
        False where somebody else had finished it: the first one counts, and the quota changes once.
    """
    written = _write(run, outcome) if outcome.produced else _write_and_release(run, outcome)
    if written:
        metrics.RUNS.labels("chain" if run.chain else "agent", str(outcome.status)).inc()
    return written is not None


@transaction.atomic
def _write_and_release(run: Run, outcome: Outcome) -> tuple[str, date] | None:
    """Where something was produced there is nothing to give back, and `_write` is one statement."""
    written = _write(run, outcome)
    if written and written[0] == Charge.RELEASED:
        quota.release(user_id=run.user_id, month=written[1], chain=bool(run.chain))
    return written


def _write(run: Run, outcome: Outcome) -> tuple[str, date] | None:
    values = {**asdict(outcome), "now": datetime.now(UTC), "id": run.pk}
    values["unfinished"] = [str(status) for status in outcome.unfinished]
    values["output"] = texts.storable(outcome.output)
    values["duration_ms"] = min(max(0, outcome.duration_ms), LONGEST_MS)  # another node's clock may be behind
    with connection.cursor() as cursor:
        cursor.execute(FINISH, values)
        return cursor.fetchone()


def end(
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
    lines = [line for _, line in loop.submit(log.read(run.pk)).result()]
    last = orjson.dumps(failure(error) if error else CANCELLED)
    outcome = Outcome(
        status,
        run.provider,
        run.model,
        error_code=error.code if error else "",
        events=texts.joined([*lines, last]),
        attempt=run.attempt,
        unfinished=tuple(unfinished),
        silent_s=silent_s,
        **so_far(run, lines),
    )
    ended = finish(run, outcome)
    if ended:
        with suppress(RedisError, OSError):  # readers find it in the database
            loop.submit(log.append(log.Append(run.pk, len(lines), [last], run.attempt))).result()
    return ended


def so_far(run: Run, lines: list[bytes]) -> dict[str, Any]:
    """What a run has produced and cost, seen from outside: members of `Outcome`.

    Args:
        lines: its events; those of a chain count beside its steps.
    """
    steps = texts.steps_of(run) if run.chain else []
    age_ms = round((datetime.now(UTC) - run.created_at).total_seconds() * 1000)
    return {
        "produced": any(step.output for step in steps) or any(line.startswith(CHUNK) for line in lines),
        "first_token_ms": run.first_token_ms,
        **(totals(steps) if steps else {"output": texts.chunks(lines), "duration_ms": age_ms}),
    }


def totals(steps: Sequence[RunStep]) -> dict[str, Any]:
    """What a chain's steps have produced and cost together: members of `Outcome`.

    Args:
        steps: those that have ended, in order.
    """
    return {
        "output": steps[-1].output if steps else "",
        "input_tokens": sum(step.input_tokens for step in steps),
        "output_tokens": sum(step.output_tokens for step in steps),
        "cost_usd": sum((step.cost_usd for step in steps), Decimal(0)),
        "duration_ms": sum(step.duration_ms for step in steps),
    }


def interrupt(run: Run, silent_s: float) -> bool:
    """End a run whose executor has given no sign of life for so many seconds.

    Returns:
        False where somebody else had ended it, or executes it after all.

    Raises:
        RedisError, OSError: its log cannot be read.
    """
    if run.cancel_requested_at:
        return end(run, Status.CANCELLED, silent_s=silent_s)
    return end(run, Status.INTERRUPTED, error=RunInterrupted(), silent_s=silent_s)


def end_abandoned(silent_s: float) -> int:
    """End agents' runs that nobody executes any more, and give back the executions that produced nothing.

    A process that was killed never finishes its runs; its heartbeats stop. Chains are taken over (`chains.recovery`).

    Args:
        silent_s: seconds without a sign of life.

    Returns:
        How many were ended; one that cannot be is left for the next time and does not keep the others.
    """
    ended = 0
    for run in leases.silent(silent_s).filter(chain=""):
        try:
            ended += interrupt(run, silent_s)
        except Exception:
            logger.exception("Run %s cannot be ended", run.pk)
    return ended
