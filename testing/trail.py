"""The audit trail without summaries of repeated rows."""

from datetime import timedelta
from typing import Any


def age_repeats() -> None:
    """Make all repeatable rows a minute older, and write their summaries."""
    from django.db.models import F

    from accounts.auditlog import trail
    from accounts.models import AuditRepeat

    AuditRepeat.objects.update(ends_at=F("ends_at") - timedelta(minutes=1))
    trail.summarise()


def event_details(user: Any, action: str) -> list[dict[str, Any]]:
    """Return the details of a user's events of an action, one for each repetition."""
    from accounts.models import AuditEvent

    age_repeats()
    rows = [dict(row.details) for row in AuditEvent.objects.filter(subject_id=user.pk, action=action).order_by("pk")]
    return [details for details in rows for _ in range(details.pop("repeated", 1))]
