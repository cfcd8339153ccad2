"""The stored inputs, outputs and events of runs, until their retention."""

from collections.abc import Iterable
from typing import Any

import orjson
from django.db.models.functions import Now

from lunaos.event_lines import type_of
from runs.models import Run, RunText


def load_text(run: Run) -> RunText | None:
    """Return a run's texts; None once they have expired."""
    return RunText.objects.filter(run_id=run.pk, expires_at=run.expires_at, expires_at__gt=Now()).first()


def error_message(run: Run, text: RunText | None) -> str:
    """Return a failed run's error sentence, as the client got it; empty without one."""
    # A resumed chain keeps the sentence of its failure until it ends again, so the run's error code decides.
    return text.error if text and run.error_code else ""


def last_attempt(run: Run, text: RunText | None) -> dict[str, Any] | None:
    """Return a failed run's last failed request: provider, model, code, status, said."""
    if text is None or not run.error_code or text.last_attempt is None:
        return None
    # `said` is the provider's own text, about the account of the key: not for users of the server's key.
    return text.last_attempt if run.own_key else {**text.last_attempt, "said": ""}


def strip_nul(text: str) -> str:
    """Return a text without NUL characters, which PostgreSQL cannot store."""
    return text.replace("\0", "")


def join_events(lines: Iterable[bytes]) -> str:
    """Return events in their stored form, one line each."""
    return b"\n".join(lines).decode()


def join_chunks(lines: Iterable[bytes]) -> str:
    return "".join(orjson.loads(line)["content"] for line in lines if type_of(line) == "chunk")


def has_text(lines: Iterable[bytes]) -> bool:
    # White space alone does not count as text.
    return any(orjson.loads(line)["content"].strip() for line in lines if type_of(line) == "chunk")
