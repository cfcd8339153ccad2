"""A run's life: begun with a reservation, finished once."""

from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import UUID

from django.conf import settings
from django.db import connection, transaction

from accounts.models import User
from billing import quota
from lunaos.errors import NotFound
from runs.models import Charge, Run, RunText, Status

GRACE = timedelta(seconds=60)

# Each of the two writes of a run is one statement and so one round trip and one transaction.
_COLUMNS = [field.attname for field in Run._meta.concrete_fields]
BEGIN = f"""
    WITH reserved AS ({quota.RESERVE}),
    run AS (
        INSERT INTO runs_run ({", ".join(_COLUMNS)})
        SELECT {", ".join(f"%({column})s" for column in _COLUMNS)} FROM reserved RETURNING id, created_at
    ),
    text AS (INSERT INTO runs_text (run_id, created_at, input, output) SELECT id, created_at, %(input)s, '' FROM run)
    SELECT executions FROM reserved
"""  # noqa: S608 - the columns are the model's
FINISH = """
    WITH run AS (
        UPDATE runs_run SET
            status = %(status)s, provider = %(provider)s, model = %(model)s, error_code = %(error_code)s,
            input_tokens = %(input_tokens)s, output_tokens = %(output_tokens)s, cost_usd = %(cost_usd)s,
            duration_ms = %(duration_ms)s, first_token_ms = %(first_token_ms)s, charge = %(charge)s,
            finished_at = %(now)s
        WHERE id = %(id)s AND status = 'running' RETURNING id, created_at
    ),
    text AS (
        UPDATE runs_text SET output = %(output)s FROM run
        WHERE run_id = run.id AND runs_text.created_at = run.created_at
    )
    SELECT id FROM run
"""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended.

    Args:
        output: what was produced; kept also when the run failed later on.
        produced: whether any of the answer reached the log, which is what makes the execution count.
        first_token_ms: from the request to the first piece of answer, None where none came.
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


def begin(*, user: User, agent: str, provider: str, model: str, text: str, request_id: str) -> tuple[Run, quota.Usage]:
    """Reserve an execution and write the run, in one statement.

    Raises:
        QuotaExceeded: nothing is written then.
    """
    now = datetime.now(UTC)
    allowance = quota.allowance(user, now)
    run = Run(
        user=user,
        agent=agent,
        provider=provider,
        model=model,
        charged_month=allowance["month"],
        request_id=request_id,
        created_at=now,
    )
    row = {column: getattr(run, column) for column in _COLUMNS}
    with connection.cursor() as cursor:
        cursor.execute(BEGIN, {**row, **allowance, "input": text})
        reserved = cursor.fetchone()
    if reserved is None:
        raise quota.exceeded(user)
    return run, quota.Usage(reserved[0], allowance["quota"])


def finish(run: Run, outcome: Outcome) -> bool:
    """Write how a run ended, and settle or release its execution.

    Returns:
        False where somebody else had finished it: the first one counts, and the quota changes once.
    """
    if outcome.produced:
        return _write(run, outcome, Charge.SETTLED)
    with transaction.atomic():
        changed = _write(run, outcome, Charge.RELEASED)
        if changed:
            quota.release(user_id=run.user_id, month=run.charged_month)
    return changed


def _write(run: Run, outcome: Outcome, charge: Charge) -> bool:
    values = {**asdict(outcome), "charge": charge, "now": datetime.now(UTC), "id": run.pk}
    with connection.cursor() as cursor:
        cursor.execute(FINISH, values)
        return cursor.fetchone() is not None


def get(*, user: User, run_id: UUID) -> tuple[Run, RunText | None]:
    """One's own run and its texts; no texts once the retention has dropped them.

    Raises:
        NotFound: no such run, or another user's.
    """
    run = Run.objects.filter(pk=run_id, user=user).first()
    if run is None:
        raise NotFound("There is no such run.")
    return run, RunText.objects.filter(run_id=run.pk, created_at=run.created_at).first()


def end_abandoned(now: datetime | None = None) -> int:
    """End runs that nobody executes any more and give their executions back.

    A process that was killed never finishes its runs, and a stream whose client left while the view still worked never
    starts. Either is older than any run may last.

    Returns:
        How many were ended.
    """
    now = now or datetime.now(UTC)
    oldest = now - timedelta(seconds=settings.LLM_RUN_TIMEOUT_S) - GRACE
    return sum(
        finish(run, Outcome(Status.INTERRUPTED, run.provider, run.model, error_code="interrupted"))
        for run in Run.objects.filter(status=Status.RUNNING, created_at__lt=oldest).iterator()
    )
