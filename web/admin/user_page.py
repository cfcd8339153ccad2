"""What a user's page shows beside its form: the newest of each kind, and the way to the rest."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.db.models import OuterRef, Q, Subquery
from django.http import HttpRequest
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.formats import date_format
from django.utils.html import format_html
from django.utils.safestring import SafeString

from accounts.models import AuditEvent, User
from billing import tiers
from billing.models import WebhookEvent
from billing.payments import stripe_mirror, subscription_state
from web.templatetags.number_format import figure

SHOWN = 10  # of each kind; the lists have the rest


@dataclass(frozen=True, slots=True)
class Panel:
    """A small table.

    Args:
        more: the list that has all of them.
    """

    title: str
    columns: tuple[str, ...]
    rows: list[tuple[Any, ...]]
    more: str


def panels(request: HttpRequest, user: User) -> list[Panel]:
    """Those whose lists the staff member may see; each costs one query."""
    return [make(user) for permission, make in PANELS.items() if request.user.has_perm(permission)]


def payments(request: HttpRequest, user: User) -> str:
    """A user's grants, subscriptions, invoices and Stripe's events, of which the staff member may see the lists."""
    may = {name for name, permission in MONEY.items() if request.user.has_perm(permission)}
    context: dict[str, Any] = {"grants": user.grants.select_related("tier")[:SHOWN]} if "grants" in may else {}
    if customer := stripe_mirror.get_customer(user):
        context |= {name: make(customer)[:SHOWN] for name, make in OF_CUSTOMER.items() if name in may}
    context |= {"may": may, "customer": customer}
    return render_to_string("admin/accounts/payments.html", context) if may else ""


def _usage(user: User) -> Panel:
    limit = tiers.get(user.tier).executions
    rows = [
        (f"{usage.month:%B %Y}", f"{usage.executions:,} of {limit:,}", f"{usage.chains:,}")
        for usage in user.monthly_usage.order_by("-month")[:SHOWN]
    ]
    return Panel(
        "Usage by month",
        ("Month", "Executions", "Chains among them"),
        rows,
        _list("billing_monthlyusage", q=user.email),
    )


def _keys(user: User) -> Panel:
    rows = [
        (
            _link("apikeys_apikey", key.pk, f"{key.prefix}…"),
            key.name,
            _time(key.created_at),
            _time(key.last_used_at),
            "active" if key.active else "revoked" if key.revoked_at else "expired",
        )
        for key in user.api_keys.defer("digest")[:SHOWN]
    ]
    return Panel("API keys", ("Key", "Name", "Made", "Used last", "State"), rows, _list("apikeys_apikey", q=user.email))


def _runs(user: User) -> Panel:
    rows = [
        (
            _link("runs_run", run.pk, _time(run.created_at)),
            run.chain or run.agent,
            f"{run.status} ({run.error_code})" if run.error_code else run.status,
            figure(float(run.cost_usd), "usd") if run.cost_known else "unknown",
        )
        for run in user.runs.all()[:SHOWN]
    ]
    return Panel("Runs", ("When", "Agent or chain", "Status", "Cost"), rows, _list("runs_run", user__id__exact=user.pk))


def _trail(user: User) -> Panel:
    by = Subquery(User.objects.filter(pk=OuterRef("actor_id")).values("email"))
    mine = AuditEvent.objects.filter(Q(actor_id=user.pk) | Q(subject_id=user.pk)).annotate(by=by)
    rows = [
        (
            _link("accounts_auditevent", event.pk, _time(event.at)),
            event.action,
            _by(user, event),
            ", ".join(f"{name}: {value}" for name, value in event.details.items() if value not in (None, "")),
        )
        for event in mine[:SHOWN]
    ]
    return Panel("Audit trail", ("When", "What", "By", "Details"), rows, _list("accounts_auditevent", q=user.pk))


def _by(user: User, event: AuditEvent) -> str:
    if event.actor_id == user.pk:
        return "themselves"
    return getattr(event, "by", None) or str(event.actor_id or "the platform")


def _time(moment: Any) -> str:
    return date_format(moment, "M j, H:i") if moment else "never"


def _link(page: str, pk: Any, text: str) -> SafeString:
    return format_html('<a href="{}">{}</a>', reverse(f"admin:{page}_change", args=[pk]), text)


def _list(page: str, **filters: Any) -> str:
    return reverse(f"admin:{page}_changelist", query=filters)


MONEY = {
    "grants": "billing.view_grant",
    "subscriptions": "djstripe.view_subscription",
    "invoices": "djstripe.view_invoice",
    "events": "billing.view_webhookevent",
}
OF_CUSTOMER: dict[str, Callable[[Any], Any]] = {  # of a customer in dj-stripe's tables
    "subscriptions": subscription_state.list_for_customer,
    "invoices": lambda customer: customer.invoices.order_by("-created"),
    "events": lambda customer: WebhookEvent.objects.filter(customer_id=customer.id),
}
PANELS: dict[str, Callable[[User], Panel]] = {
    "billing.view_monthlyusage": _usage,
    "apikeys.view_apikey": _keys,
    "runs.view_run": _runs,
    "accounts.view_auditevent": _trail,
}
