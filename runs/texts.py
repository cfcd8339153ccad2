"""What goes in and comes out of runs, as it is stored; gone once the retention has passed."""

from collections.abc import Iterable

import orjson
from django.db import transaction
from django.db.models.functions import Now

from runs.models import Run, RunStep, RunText, Status
from runs.recorder import CHUNK


def text_of(run: Run) -> RunText | None:
    """A run's texts, while they are kept."""
    return RunText.objects.filter(run_id=run.pk, expires_at=run.expires_at, expires_at__gt=Now()).first()


def steps_of(run: Run) -> list[RunStep]:
    """What a chain's steps did, while it is kept."""
    steps = RunStep.objects.filter(run_id=run.pk, expires_at=run.expires_at, expires_at__gt=Now())
    return list(steps.order_by("position"))


@transaction.atomic
def save_step(run: Run, step: RunStep) -> bool:
    """Write a step that has ended, over what an earlier execution left of it.

    Returns:
        False where the run is not this execution's any more; nothing is written then.
    """
    mine = Run.objects.select_for_update().filter(pk=run.pk, attempt=run.attempt, status=Status.RUNNING)
    if mine.first() is None:
        return False
    RunStep.objects.filter(run_id=run.pk, expires_at=run.expires_at, position=step.position).delete()
    step.output = storable(step.output)
    step.save(force_insert=True)
    return True


def storable(text: str) -> str:
    """Without NUL, which PostgreSQL's text cannot hold."""
    return text.replace("\0", "")


def joined(lines: Iterable[bytes]) -> str:
    """Events as they are stored."""
    return b"\n".join(lines).decode()


def chunks(lines: Iterable[bytes]) -> str:
    """The answer that events carry."""
    return "".join(orjson.loads(line)["content"] for line in lines if line.startswith(CHUNK))


def shows_text(lines: Iterable[bytes]) -> bool:
    """Return whether events carry any text of an answer; white space alone is none."""
    return any(orjson.loads(line)["content"].strip() for line in lines if line.startswith(CHUNK))
