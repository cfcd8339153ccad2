"""Export and delete a user's runs: rows, texts, steps, event logs."""

from collections.abc import Iterable, Iterator

import orjson
from django.db import connection
from django.db.models.functions import Now

from accounts.models import User
from accounts.privacy import registry
from accounts.privacy.registry import Row
from lunaos.infra import event_loop
from runs import services, texts
from runs.eventlog import log
from runs.models import UNFINISHED, Run, RunStep, RunText

MAX_TEXTS_PER_READ = 20  # texts may be megabytes
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


def prepare(user: User) -> None:
    """Cancel the user's runs that are under way."""
    for run in Run.objects.filter(user=user, status__in=UNFINISHED):
        services.cancel(run)


def disown(user: User) -> None:
    """Do nothing: runs give no access."""


def erase(user: User) -> None:
    """Delete the user's runs.

    Raises:
        RedisError: nothing is deleted then.
    """
    # Executors can write neither rows nor logs of the runs from then on.
    for page in registry.in_pages(Run.objects.filter(user=user).only("pk")):
        event_loop.submit(log.delete([run.pk for run in page])).result()
    with connection.cursor() as cursor:
        for statement in DELETE_TEXTS:
            cursor.execute(statement, [user.pk])
    Run.objects.filter(user=user).delete()


def _runs(user: User) -> Iterator[Row]:
    for page in registry.in_pages(Run.objects.filter(user=user)):
        for start in range(0, len(page), MAX_TEXTS_PER_READ):
            yield from _with_texts(page[start : start + MAX_TEXTS_PER_READ])


def _with_texts(runs: list[Run]) -> Iterator[Row]:
    keys = {"run_id__in": [run.pk for run in runs], "expires_at__in": [run.expires_at for run in runs]}
    found = {text.run_id: text for text in RunText.objects.filter(**keys, expires_at__gt=Now())}
    steps = list(RunStep.objects.filter(**keys, expires_at__gt=Now()).order_by("position"))
    for run in runs:
        done = [registry.columns(step, *OMITTED_COLUMNS) for step in steps if step.run_id == run.pk]
        yield {**registry.columns(run, "user_id", "executor"), **_text(run, found.get(run.pk)), "stepsDone": done}


def _text(run: Run, text: RunText | None) -> Row:
    failure = {"error": texts.error_message(run, text), "lastAttempt": texts.last_attempt(run, text)}
    if text is None:
        return {"input": "", "output": "", "events": [], **failure}
    events = [orjson.loads(line) for line in text.events.split("\n") if line]
    return {"input": text.input, "output": text.output, "events": events, **failure}
