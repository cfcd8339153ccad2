"""Tables on a user's admin page, with the newest rows of each kind."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from django.db.models import Max, OuterRef, Q, Subquery, Sum
from django.http import HttpRequest
from django.utils.html import format_html

from accounts.models import AuditEvent, User
from accounts.staff import links
from billing import tiers
from refusals.models import Refusal
from web.admin.recent_table import ROWS_PER_TABLE, RecentTable, list_url, short_time
from web.templatetags.number_format import format_figure

REFUSAL_DAYS = 7  # that a user's page sums up; the list has 30


def recent_tables(request: HttpRequest, user: User) -> list[RecentTable]:
    """Return the tables that the staff member may see; each costs one query."""
    return [make(user) for permission, make in TABLES.items() if request.user.has_perm(permission)]


def _notes_table(user: User) -> RecentTable:
    rows = [
        (short_time(note.created_at), note.author or "a former colleague", note.text)
        for note in user.notes.select_related("author")[:ROWS_PER_TABLE]
    ]
    return RecentTable("Notes", ("Time", "By", "Note"), rows, is_wide=True)


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
        list_url("billing_monthlyusage", q=user.email),
    )


def _refusals_table(user: User) -> RecentTable:
    since = datetime.now(UTC) - timedelta(days=REFUSAL_DAYS)
    by_code = Refusal.objects.filter(user=user, minute__gt=since).order_by().values("code")
    url = list_url("refusals_refusal", user__id__exact=user.pk)
    rows = [
        (
            format_html('<a href="{}&code={}">{}</a>', url, row["code"], row["code"]),
            f"{row['requests']:,}",
            short_time(row["last_at"]),
        )
        for row in by_code.annotate(requests=Sum("count"), last_at=Max("minute")).order_by("-last_at")
    ]
    return RecentTable(f"Refused requests of the last {REFUSAL_DAYS} days", ("Code", "Requests", "Last at"), rows, url)


def _keys_table(user: User) -> RecentTable:
    rows = [
        (
            links.to_object("apikeys_apikey", key.pk, f"{key.prefix}…"),
            key.name,
            short_time(key.created_at),
            short_time(key.last_used_at),
            key.state,
        )
        for key in user.api_keys.defer("digest")[:ROWS_PER_TABLE]
    ]
    return RecentTable(
        "API keys", ("Key", "Name", "Created", "Last used", "State"), rows, list_url("apikeys_apikey", q=user.email)
    )


def _runs_table(user: User) -> RecentTable:
    rows = [
        (
            links.to_object("runs_run", run.pk, short_time(run.created_at)),
            run.chain or run.agent,
            f"{run.status} ({run.error_code})" if run.error_code else run.status,
            format_figure(float(run.cost_usd), "usd") if run.cost_known else "unknown",
        )
        for run in user.runs.all()[:ROWS_PER_TABLE]
    ]
    return RecentTable(
        "Runs", ("Time", "Agent or chain", "Status", "Cost"), rows, list_url("runs_run", user__id__exact=user.pk)
    )


def _audit_table(user: User) -> RecentTable:
    actor_email = Subquery(User.objects.filter(pk=OuterRef("actor_id")).values("email"))
    user_events = AuditEvent.objects.filter(Q(actor_id=user.pk) | Q(subject_id=user.pk)).annotate(
        actor_email=actor_email
    )
    rows = [
        (
            links.to_object("accounts_auditevent", event.pk, short_time(event.at)),
            event.action,
            _actor_label(user, event),
            ", ".join(f"{name}: {value}" for name, value in event.details.items() if value not in (None, "")),
        )
        for event in user_events[:ROWS_PER_TABLE]
    ]
    return RecentTable(
        "Audit trail", ("Time", "Action", "By", "Details"), rows, list_url("accounts_auditevent", q=user.pk)
    )


def _actor_label(user: User, event: AuditEvent) -> str:
    if event.actor_id == user.pk:
        return "themselves"
    return getattr(event, "actor_email", None) or str(event.actor_id or "the platform")


TABLES: dict[str, Callable[[User], RecentTable]] = {
    "accounts.view_usernote": _notes_table,
    "billing.view_monthlyusage": _usage_table,
    "refusals.view_refusal": _refusals_table,
    "apikeys.view_apikey": _keys_table,
    "runs.view_run": _runs_table,
    "accounts.view_auditevent": _audit_table,
}
