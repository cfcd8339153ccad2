"""The audit trail as if nothing in it were summarised."""

from datetime import timedelta
from typing import Any


def pass_a_minute() -> None:
    """Have all rows that may be repeated be a minute older, and write their summaries."""
    from django.db.models import F

    from accounts.auditlog import trail
    from accounts.models import AuditRepeat

    AuditRepeat.objects.update(ends_at=F("ends_at") - timedelta(minutes=1))
    trail.summarise()


def happened(user: Any, action: str) -> list[dict[str, Any]]:
    """The details of what concerns a user, as often as it happened."""
    from accounts.models import AuditEvent

    pass_a_minute()
    rows = [dict(row.details) for row in AuditEvent.objects.filter(subject_id=user.pk, action=action).order_by("pk")]
    return [details for details in rows for _ in range(details.pop("repeated", 1))]
