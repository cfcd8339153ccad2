"""Pages of API keys that answer why a key stopped.

They lie here and not in `apikeys`, which must not import `runs`.
"""

from datetime import UTC, datetime
from typing import Any

from django.contrib import admin
from django.db.models import OuterRef, Subquery
from django.http import HttpRequest
from django.utils.formats import date_format
from django.utils.html import format_html
from django.utils.safestring import SafeString

from accounts.auditlog.trail import Action
from accounts.models import AuditEvent, User
from accounts.staff import links
from apikeys.admin import ApiKeyAdmin
from apikeys.models import ApiKey
from lunaos.infra.plurals import counted
from refusals.models import Refusal
from runs.metering import key_usage
from runs.models import Run
from web.admin.recent_table import ROWS_PER_TABLE, RecentTable, list_url, short_time
from web.templatetags.number_format import format_figure

REVOCATIONS = (Action.KEY_REVOKED, Action.KEY_REPORTED_LEAKED)
WORKS = "The key works. Requests with it are refused only for the reasons below."
DISABLED = "The account of the key is disabled: all its keys are refused until staff enable the account."


class ApiKeyPageAdmin(ApiKeyAdmin):
    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        key = context.get("original")
        if isinstance(key, ApiKey):
            context |= {
                "answer": describe_state(key),
                "facts": self._facts(request, key),
                "recent_tables": [make(key) for needed, make in TABLES.items() if request.user.has_perm(needed)],
            }
        return super().render_change_form(request, context, *args, **kwargs)

    def _facts(self, request: HttpRequest, key: ApiKey) -> list[tuple[str, Any]]:
        facts = [("State", key.state), ("Last used", short_time(key.last_used_at))]
        if not request.user.has_perm("runs.view_run"):
            return facts
        usage = key_usage.of_month(key.pk, datetime.now(UTC))
        spent = format_figure(float(usage.billed_usd), "usd")
        return [
            *facts,
            ("Runs this month", f"{usage.runs:,}"),
            ("Tokens this month", format_figure(usage.input_tokens + usage.output_tokens)),
            ("Spent this month", spent if usage.cost_known else f"{spent} + unknown"),
        ]


def describe_state(key: ApiKey) -> SafeString | str:
    if key.revoked_at:
        return _describe_revocation(key, key.revoked_at)
    if key.expires_at and not key.active:
        return f"The key expired on {date_format(key.expires_at, 'DATETIME_FORMAT')}, as its owner chose."
    return WORKS if key.user.is_active else DISABLED


def _describe_revocation(key: ApiKey, revoked_at: datetime) -> SafeString:
    event = _find_revocation(key)
    when = date_format(revoked_at, "DATETIME_FORMAT")
    if event is None:
        return format_html("The key was revoked on {}; the audit trail does not say by whom.", when)
    row = links.to_object("accounts_auditevent", event.pk, "audit row")
    return format_html("The key was revoked on {} {} ({}).", when, _by_whom(key, event), row)


def _by_whom(key: ApiKey, event: AuditEvent) -> str:
    if event.action == Action.KEY_REPORTED_LEAKED:
        return "automatically, because someone reported it as leaked"
    if event.actor_id is None:
        return "automatically, together with all access to the account"
    if event.actor_id == key.user_id:
        return "by its owner"
    return f"by staff: {getattr(event, 'actor_email', None) or event.actor_id}"


def _find_revocation(key: ApiKey) -> AuditEvent | None:
    email = Subquery(User.objects.filter(pk=OuterRef("actor_id")).values("email"))
    found = AuditEvent.objects.filter(subject_id=key.user_id, action__in=REVOCATIONS, details__key=key.prefix)
    # None: the audit row of the revocation was not written.
    return found.annotate(actor_email=email).first()


def _refusals_table(key: ApiKey) -> RecentTable:
    rows = [
        (
            links.to_object("refusals_refusal", refusal.pk, refusal.code),
            refusal.message,
            counted(refusal.count, "request"),
            short_time(refusal.minute),
            links.to_request(refusal.last_request_id),
        )
        for refusal in Refusal.objects.kept().filter(key_id=key.pk)[:ROWS_PER_TABLE]
    ]
    columns = ("Code", "The answer said", "Refused", "Minute", "Last request")
    return RecentTable("Refused requests", columns, rows, list_url("refusals_refusal", q=key.prefix), is_wide=True)


def _networks_table(key: ApiKey) -> RecentTable:
    rows = [
        (address.network, short_time(address.first_used_at))
        for address in key.addresses.order_by("-first_used_at")[:ROWS_PER_TABLE]
    ]
    return RecentTable("Networks", ("Used from", "First used"), rows)


def _runs_table(key: ApiKey) -> RecentTable:
    rows = [
        (links.to_object("runs_run", run.pk, short_time(run.created_at)), run.chain or run.agent, run.status)
        for run in Run.objects.filter(api_key_id=key.pk)[:ROWS_PER_TABLE]
    ]
    return RecentTable("Runs", ("Time", "Agent or chain", "Status"), rows, list_url("runs_run", api_key_id=key.pk))


TABLES = {
    "refusals.view_refusal": _refusals_table,
    "apikeys.view_apikey": _networks_table,
    "runs.view_run": _runs_table,
}

admin.site.unregister(ApiKey)
admin.site.register(ApiKey, ApiKeyPageAdmin)
