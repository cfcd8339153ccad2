"""Runs' part of what is known of a user: rows, texts, steps, and the event logs in Valkey."""

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

KEPT_APART = ("run_id", "expires_at")

# Texts and steps have no foreign keys, for the sake of their partitions.
ERASE = (
    "DELETE FROM runs_text AS gone USING runs_run AS run "
    "WHERE gone.run_id = run.id AND gone.expires_at = run.expires_at AND run.user_id = %s",
    "DELETE FROM runs_step AS gone USING runs_run AS run "
    "WHERE gone.run_id = run.id AND gone.expires_at = run.expires_at AND run.user_id = %s",
)


def export(user: User) -> Iterator[tuple[str, Row | Iterable[Row]]]:
    yield "runs", _runs(user)


def prepare_deletion(user: User) -> None:
    """Have runs that are under way end."""
    for run in Run.objects.filter(user=user, status__in=UNFINISHED):
        services.cancel(run)


def revoke_access(user: User) -> None:
    """Nothing of it gives access."""


def delete(user: User) -> None:
    """Whoever still executes one of the runs can write nothing of it any more, neither here nor to its log.

    Raises:
        RedisError: nothing is deleted then.
    """
    for page in registry.in_pages(Run.objects.filter(user=user).only("pk")):
        event_loop.submit(log.forget([run.pk for run in page])).result()
    with connection.cursor() as cursor:
        for statement in ERASE:
            cursor.execute(statement, [user.pk])
    Run.objects.filter(user=user).delete()


def _runs(user: User) -> Iterator[Row]:
    for page in registry.in_pages(Run.objects.filter(user=user)):
        yield from _of_page(page)


def _of_page(runs: list[Run]) -> Iterator[Row]:
    sizes = _sizes(runs)
    for batch in registry.in_batches(runs, lambda run: sizes.get(run.pk, 0)):
        yield from _with_texts(batch)


def _sizes(runs: list[Run]) -> dict[UUID, int]:
    """Return the bytes of each run's events, by which output and steps are bounded too."""
    sized = _texts(runs).annotate(events_bytes=Func("events", function="octet_length"))
    return dict(sized.values_list("run_id", "events_bytes"))


def _texts(runs: list[Run]) -> QuerySet[RunText]:
    return RunText.objects.filter(**_kept(runs), expires_at__gt=Now())


def _kept(runs: list[Run]) -> dict[str, Any]:
    return {"run_id__in": [run.pk for run in runs], "expires_at__in": [run.expires_at for run in runs]}


def _with_texts(runs: list[Run]) -> Iterator[Row]:
    """Rows of a batch; a run that is alone in its batch may be long, so its events are read as they are sent."""
    texts_of = _texts(runs).defer("events") if len(runs) == 1 else _texts(runs)
    found = {text.run_id: text for text in texts_of}
    steps = list(RunStep.objects.filter(**_kept(runs), expires_at__gt=Now()).order_by("position"))
    for run in runs:
        mine = [registry.to_row(step, *KEPT_APART) for step in steps if step.run_id == run.pk]
        text = found.get(run.pk)
        lines = replay.lines_of(run) if len(runs) == 1 else text.events.encode().split(b"\n") if text else ()
        row = {**registry.to_row(run, "user_id", "executor"), **_text(run, text)}
        yield {**row, "events": (orjson.loads(line) for line in lines if line), "stepsDone": mine}


def _text(run: Run, text: RunText | None) -> Row:
    written = {"input": text.input, "output": text.output} if text else {"input": "", "output": ""}
    failure = {"error": texts.error_of(run, text), "lastAttempt": texts.last_attempt_of(run, text)}
    return {**written, "events": [], **failure}
