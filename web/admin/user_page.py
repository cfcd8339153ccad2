"""Tables on a user's admin page: the newest rows of each kind, with links to the lists."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.db.models import OuterRef, Q, Subquery
from django.http import HttpRequest
from django.urls import reverse
from django.utils.formats import date_format
from django.utils.html import format_html
from django.utils.safestring import SafeString

from accounts.models import AuditEvent, User
from billing import tiers
from web.templatetags.number_format import format_figure

ROWS_PER_TABLE = 10  # of each kind; the linked lists have all rows


@dataclass(frozen=True, slots=True)
class RecentTable:
    """The newest rows of a list.

    Args:
        more: URL of the complete list.
    """

    title: str
    columns: tuple[str, ...]
    rows: list[tuple[Any, ...]]
    more: str


def recent_tables(request: HttpRequest, user: User) -> list[RecentTable]:
    """Return the tables that the staff member may see; each costs one query."""
    return [make(user) for permission, make in TABLES.items() if request.user.has_perm(permission)]


def _usage_table(user: User) -> RecentTable:
    limit = tiers.get(user.tier).executions
    rows = [
        (f"{usage.month:%B %Y}", f"{usage.executions:,} of {limit:,}", f"{usage.chains:,}")
        for usage in user.monthly_usage.order_by("-month")[:ROWS_PER_TABLE]
    ]
    return RecentTable(
        "Usage by month",
        ("Month", "Executions", "Chains among them"),
        rows,
        _list_url("billing_monthlyusage", q=user.email),
    )


def _keys_table(user: User) -> RecentTable:
    rows = [
        (
            _link("apikeys_apikey", key.pk, f"{key.prefix}…"),
            key.name,
            _time(key.created_at),
            _time(key.last_used_at),
            "active" if key.active else "revoked" if key.revoked_at else "expired",
        )
        for key in user.api_keys.defer("digest")[:ROWS_PER_TABLE]
    ]
    return RecentTable(
        "API keys", ("Key", "Name", "Created", "Last used", "State"), rows, _list_url("apikeys_apikey", q=user.email)
    )


def _runs_table(user: User) -> RecentTable:
    rows = [
        (
            _link("runs_run", run.pk, _time(run.created_at)),
            run.chain or run.agent,
            f"{run.status} ({run.error_code})" if run.error_code else run.status,
            format_figure(float(run.cost_usd), "usd") if run.cost_known else "unknown",
        )
        for run in user.runs.all()[:ROWS_PER_TABLE]
    ]
    return RecentTable(
        "Runs", ("Time", "Agent or chain", "Status", "Cost"), rows, _list_url("runs_run", user__id__exact=user.pk)
    )


def _audit_table(user: User) -> RecentTable:
    actor_email = Subquery(User.objects.filter(pk=OuterRef("actor_id")).values("email"))
    user_events = AuditEvent.objects.filter(Q(actor_id=user.pk) | Q(subject_id=user.pk)).annotate(
        actor_email=actor_email
    )
    rows = [
        (
            _link("accounts_auditevent", event.pk, _time(event.at)),
            event.action,
            _actor_label(user, event),
            ", ".join(f"{name}: {value}" for name, value in event.details.items() if value not in (None, "")),
        )
        for event in user_events[:ROWS_PER_TABLE]
    ]
    return RecentTable(
        "Audit trail", ("Time", "Action", "By", "Details"), rows, _list_url("accounts_auditevent", q=user.pk)
    )


def _actor_label(user: User, event: AuditEvent) -> str:
    if event.actor_id == user.pk:
        return "themselves"
    return getattr(event, "actor_email", None) or str(event.actor_id or "the platform")


def _time(moment: Any) -> str:
    return date_format(moment, "M j, H:i") if moment else "never"


def _link(page: str, pk: Any, text: str) -> SafeString:
    return format_html('<a href="{}">{}</a>', reverse(f"admin:{page}_change", args=[pk]), text)


def _list_url(page: str, **filters: Any) -> str:
    return reverse(f"admin:{page}_changelist", query=filters)


TABLES: dict[str, Callable[[User], RecentTable]] = {
    "billing.view_monthlyusage": _usage_table,
    "apikeys.view_apikey": _keys_table,
    "runs.view_run": _runs_table,
    "accounts.view_auditevent": _audit_table,
}
