"""The search box of the admin: objects by what a customer can name."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.contrib import admin
from django.db.models import Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.views.decorators.http import require_http_methods

from accounts.models import AuditEvent, User
from apikeys import secret
from apikeys.models import ApiKey
from billing import invoices
from lunaos.infra.plurals import counted
from refusals.models import Refusal
from runs.models import Run
from web.admin.recent_table import short_time

MAX_RESULTS = 20  # of each kind
KEY_PREFIX = re.compile(rf"{secret.KEY_PREFIX}[0-9a-f]{{0,8}}")
SEARCHABLE = re.compile(r"[A-Za-z0-9._:@+%'-]{3,255}\Z")  # addresses, ids, prefixes and invoice numbers
NOT_SEARCHABLE = (
    "This is not searched for. Enter a mail address, a run id, a request id, the beginning of an API key, or the "
    "number of an invoice."
)


@dataclass(frozen=True, slots=True)
class Result:
    title: str
    details: str
    url: str


@dataclass(frozen=True, slots=True)
class Term:
    text: str
    uuid: UUID | None

    @classmethod
    def parse(cls, text: str) -> "Term":
        try:
            return cls(text, UUID(text))
        except ValueError:
            return cls(text, None)


def cut(text: str) -> str:
    """Return a search text that may be part of a URL; empty if it is not searched for."""
    # Only the beginning of a key, also within a longer text: a whole key must stay out of logs and histories.
    if found := KEY_PREFIX.search(text):
        return found[0]
    term = text.strip()
    return term if SEARCHABLE.match(term) else ""


@require_http_methods(["GET", "POST"])
def search_view(request: HttpRequest) -> HttpResponse:
    sent = request.POST.get("q", "") if request.method == "POST" else request.GET.get("q", "")
    text = cut(sent)
    if text and (request.method == "POST" or text != sent):
        # Sent by POST, so that an uncut text is never part of a URL.
        return redirect(reverse("admin-search", query={"q": text}))
    context = {
        **admin.site.each_context(request),
        "title": "Search",
        "q": text,
        "groups": find(request.user, text) if text else [],
        "error": NOT_SEARCHABLE if sent.strip() and not text else "",
        "searched": [kind.title for kind in KINDS if request.user.has_perm(kind.permission)],
    }
    return TemplateResponse(request, "admin/find.html", context)


def find(staff: Any, text: str) -> list[tuple[str, list[Result]]]:
    """Return the results by kind, without kinds that the staff member may not view."""
    term = Term.parse(text)
    found = [(kind.title, list(kind.find(term))) for kind in KINDS if staff.has_perm(kind.permission)]
    return [(title, results) for title, results in found if results]


def _users(term: Term) -> Iterable[Result]:
    if "@" not in term.text and term.uuid is None:
        return
    matches = Q(email=term.text.lower()) if "@" in term.text else Q(pk=term.uuid)
    for user in User.objects.filter(matches):
        state = "active" if user.is_active else "disabled"
        yield _result("accounts_user", user.pk, user.email, f"{user.tier}, {state}", user.created_at)


def _keys(term: Term) -> Iterable[Result]:
    if term.uuid is None and not term.text.startswith(secret.KEY_PREFIX):
        return
    matches = Q(pk=term.uuid) if term.uuid else Q(prefix__startswith=term.text)
    for key in ApiKey.objects.filter(matches).select_related("user").defer("digest")[:MAX_RESULTS]:
        yield _result("apikeys_apikey", key.pk, f"{key.prefix}…", f"{key.state}, of {key.user.email}", key.created_at)


def _runs(term: Term) -> Iterable[Result]:
    matches = Q(request_id=term.text) | Q(pk=term.uuid) if term.uuid else Q(request_id=term.text)
    for run in Run.objects.filter(matches).select_related("user")[:MAX_RESULTS]:
        status = f"{run.status} ({run.error_code})" if run.error_code else run.status
        details = f"{run.chain or run.agent}, {status}, of {run.user.email}"
        yield _result("runs_run", run.pk, str(run.pk), details, run.created_at)


def _refusals(term: Term) -> Iterable[Result]:
    matches = Q(first_request_id=term.text) | Q(last_request_id=term.text)
    for refusal in Refusal.objects.kept().filter(matches).select_related("user")[:MAX_RESULTS]:
        details = f"{refusal.message} {counted(refusal.count, 'request', 'in this minute')}, of {refusal.user.email}"
        yield _result("refusals_refusal", refusal.pk, refusal.code, details, refusal.minute)


def _audit_rows(term: Term) -> Iterable[Result]:
    for event in AuditEvent.objects.filter(request_id=term.text)[:MAX_RESULTS]:
        details = ", ".join(f"{name}: {value}" for name, value in event.details.items() if value not in (None, ""))
        yield _result("accounts_auditevent", event.pk, event.action, details, event.at)


def _invoices(term: Term) -> Iterable[Result]:
    for invoice in invoices.find(term.text, MAX_RESULTS):
        details = f"{invoice.status}, of {invoice.owner or 'a deleted user'}"
        yield _result("djstripe_invoice", invoice.pk, invoice.number, details, invoice.created_at)


def _result(page: str, pk: Any, title: str, details: str, at: Any) -> Result:
    return Result(title, f"{details} · {short_time(at)}", reverse(f"admin:{page}_change", args=[pk]))


@dataclass(frozen=True, slots=True)
class Kind:
    title: str
    permission: str
    find: Callable[[Term], Iterable[Result]]


KINDS = (
    Kind("Users", "accounts.view_user", _users),
    Kind("API keys", "apikeys.view_apikey", _keys),
    Kind("Runs", "runs.view_run", _runs),
    Kind("Refused requests", "refusals.view_refusal", _refusals),
    Kind("Audit rows", "accounts.view_auditevent", _audit_rows),
    Kind("Invoices", "djstripe.view_invoice", _invoices),
)
