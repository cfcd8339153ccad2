"""Reasons why a run counts against the quota or not, in words (docs/adr/0029)."""

from runs.models import Charge, Run, Status

# Codes of answers that the request itself brought about; `agents` raises them, and a test there compares.
CAUSED_BY_REQUEST = frozenset({"output_limit_reached", "content_filtered", "provider_refused"})


def explain(run: Run) -> str:
    match run.charge:
        case Charge.EXEMPT:
            return "Does not count: it ran on the user's own provider key, which the free tier does not charge."
        case Charge.RESERVED:
            return "Counts while it is under way; the cause of its end decides whether it goes on counting."
        case Charge.RELEASED:
            return f"Does not count: {_explain_release(run)} The execution was given back."
        case _:
            return f"Counts: {_explain_settled(run)}"


def _explain_release(run: Run) -> str:
    if run.status == Status.CANCELLED:
        if run.cancelled_by_staff:
            return "staff cancelled it before it showed any text."
        return "its owner cancelled it before a provider had been asked."
    if run.status == Status.INTERRUPTED:
        return "its process ended before it showed any text."
    code = f" ({run.error_code})" if run.error_code else ""
    return f"the provider or the platform failed before it showed any text{code}."


def _explain_settled(run: Run) -> str:
    if run.status == Status.SUCCEEDED:
        return "it succeeded."
    if run.error_code in CAUSED_BY_REQUEST:
        return f"the request itself made the provider end the answer ({run.error_code})."
    if run.first_token_ms is None and run.status == Status.CANCELLED:
        return "its owner cancelled it after a provider had been asked, who bills for it."
    after = {Status.CANCELLED: "was cancelled", Status.INTERRUPTED: "was interrupted"}
    return f"it showed text before it {after.get(Status(run.status), 'failed')}."
