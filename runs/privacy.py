"""Export and delete a user's runs: rows, texts, steps, event logs."""

from collections.abc import Iterable, Iterator
from typing import Any
from uuid import UUID

import orjson
from django.db import connection
from django.db.models import Func, QuerySet
from django.db.models.functions import Now

from accounts.models import User
from accounts.privacy import registry
from accounts.privacy.registry import Row
from lunaos.infra import event_loop
from runs import replay, services, texts
from runs.eventlog import log
from runs.models import UNFINISHED, Run, RunStep, RunText

OMITTED_COLUMNS = ("run_id", "expires_at")

# Texts and steps have no foreign keys, because their tables are partitioned.
DELETE_TEXTS = (
    "DELETE FROM runs_text AS gone USING runs_run AS run "
    "WHERE gone.run_id = run.id AND gone.expires_at = run.expires_at AND run.user_id = %s",
    "DELETE FROM runs_step AS gone USING runs_run AS run "
    "WHERE gone.run_id = run.id AND gone.expires_at = run.expires_at AND run.user_id = %s",
)


def export(user: User) -> Iterator[tuple[str, Row | Iterable[Row]]]:
    yield "runs", _runs(user)


def prepare_deletion(user: User) -> None:
    for run in Run.objects.filter(user=user, status__in=UNFINISHED):
        services.cancel(run)


def revoke_access(user: User) -> None:
    """Do nothing: runs give no access."""


def delete(user: User) -> None:
    """Delete the user's runs; if the logs cannot be deleted, nothing is."""
    # Logs first: this also keeps executors from writing to them. Without a row they cannot write texts either.
    for page in registry.in_pages(Run.objects.filter(user=user).only("pk")):
        event_loop.submit(log.delete([run.pk for run in page])).result()
    with connection.cursor() as cursor:
        for statement in DELETE_TEXTS:
            cursor.execute(statement, [user.pk])
    Run.objects.filter(user=user).delete()


def _runs(user: User) -> Iterator[Row]:
    for page in registry.in_pages(Run.objects.filter(user=user)):
        yield from _rows_of_page(page)


def _rows_of_page(runs: list[Run]) -> Iterator[Row]:
    sizes = _sizes(runs)
    for batch in registry.in_batches(runs, lambda run: sizes.get(run.pk, 0)):
        yield from _with_texts(batch)


def _sizes(runs: list[Run]) -> dict[UUID, int]:
    # The bytes of the events bound those of output and steps, too.
    sized = _load_texts(runs).annotate(events_bytes=Func("events", function="octet_length"))
    return dict(sized.values_list("run_id", "events_bytes"))


def _load_texts(runs: list[Run]) -> QuerySet[RunText]:
    return RunText.objects.filter(**_keys(runs), expires_at__gt=Now())


def _keys(runs: list[Run]) -> dict[str, Any]:
    return {"run_id__in": [run.pk for run in runs], "expires_at__in": [run.expires_at for run in runs]}


def _with_texts(runs: list[Run]) -> Iterator[Row]:
    # A run that is alone in its batch may be long: its events are read while they are sent.
    rows = _load_texts(runs).defer("events") if len(runs) == 1 else _load_texts(runs)
    found = {text.run_id: text for text in rows}
    steps = list(RunStep.objects.filter(**_keys(runs), expires_at__gt=Now()).order_by("position"))
    for run in runs:
        done = [registry.to_row(step, *OMITTED_COLUMNS) for step in steps if step.run_id == run.pk]
        text = found.get(run.pk)
        lines = replay.read_lines(run) if len(runs) == 1 else text.events.encode().split(b"\n") if text else ()
        row = {**registry.to_row(run, "user_id", "executor"), **_text(run, text)}
        yield {**row, "events": (orjson.loads(line) for line in lines if line), "stepsDone": done}


def _text(run: Run, text: RunText | None) -> Row:
    stored = {"input": text.input, "output": text.output} if text else {"input": "", "output": ""}
    failure = {"error": texts.error_message(run, text), "lastAttempt": texts.last_attempt(run, text)}
    return {**stored, "events": [], **failure}
