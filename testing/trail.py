"""The audit trail as if nothing in it were summarised."""

from datetime import timedelta
from typing import Any


def age_repeats() -> None:
    """Have all rows that may be repeated be a minute older, and write their summaries."""
    from django.db.models import F

    from accounts.auditlog import trail
    from accounts.models import AuditRepeat

    AuditRepeat.objects.update(ends_at=F("ends_at") - timedelta(minutes=1))
    trail.summarise()


def event_details(user: Any, action: str) -> list[dict[str, Any]]:
    """The details of what concerns a user, as often as it happened."""
    from accounts.models import AuditEvent

    age_repeats()
    rows = [dict(row.details) for row in AuditEvent.objects.filter(subject_id=user.pk, action=action).order_by("pk")]
    return [details for details in rows for _ in range(details.pop("repeated", 1))]
