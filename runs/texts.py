"""What goes in and comes out of runs, as it is stored; gone once the retention has passed."""

from collections.abc import Iterable
from typing import Any

import orjson
from django.db import transaction
from django.db.models.functions import Now

from runs.eventlog.recorder import CHUNK
from runs.models import Run, RunStep, RunText, Status


def load_text(run: Run) -> RunText | None:
    """A run's texts, while they are kept."""
    return RunText.objects.filter(run_id=run.pk, expires_at=run.expires_at, expires_at__gt=Now()).first()


def load_steps(run: Run) -> list[RunStep]:
    """What a chain's steps did, while it is kept."""
    steps = RunStep.objects.filter(run_id=run.pk, expires_at=run.expires_at, expires_at__gt=Now())
    return list(steps.order_by("position"))


def error_message(run: Run, text: RunText | None) -> str:
    """Return the sentence that a failed run's client got; empty where the run has not failed, or its texts are gone.

    A chain that is resumed keeps the failure before until it ends again, so that the run's code decides.
    """
    return text.error if text and run.error_code else ""


def last_attempt(run: Run, text: RunText | None) -> dict[str, Any] | None:
    """Return a failed run's last attempt at a provider, with the provider's words for the owner of the key only.

    Returns:
        `provider`, `model`, `code`, `status` and `said`, which is empty for a run on the server's key; None where no
        attempt failed, or nothing is kept any more.
    """
    if text is None or not run.error_code or text.last_attempt is None:
        return None
    return text.last_attempt if run.own_key else {**text.last_attempt, "said": ""}


@transaction.atomic
def save_step(run: Run, step: RunStep, first_token_ms: int | None = None) -> bool:
    """Write a step that has ended, over what an earlier execution left of it.

    Args:
        first_token_ms: the run's, which a worker that dies later would take along.

    Returns:
        False where the run is not this execution's any more; nothing is written then.
    """
    mine = Run.objects.filter(pk=run.pk, attempt=run.attempt, status=Status.RUNNING)
    if not mine.update(first_token_ms=first_token_ms):  # locks the row, too
        return False
    RunStep.objects.filter(run_id=run.pk, expires_at=run.expires_at, position=step.position).delete()
    step.output = strip_nul(step.output)
    step.save(force_insert=True)
    return True


def strip_nul(text: str) -> str:
    """Without NUL, which PostgreSQL's text cannot hold."""
    return text.replace("\0", "")


def join_events(lines: Iterable[bytes]) -> str:
    """Events as they are stored."""
    return b"\n".join(lines).decode()


def join_chunks(lines: Iterable[bytes]) -> str:
    """The answer that events carry."""
    return "".join(orjson.loads(line)["content"] for line in lines if line.startswith(CHUNK))


def has_text(lines: Iterable[bytes]) -> bool:
    """Return whether events carry any text of an answer; white space alone is none."""
    return any(orjson.loads(line)["content"].strip() for line in lines if line.startswith(CHUNK))
