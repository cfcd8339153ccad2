"""Runs in the admin: find, read and cancel; never change."""

from contextlib import suppress
from typing import Any, cast
from uuid import UUID

from django.conf import settings
from django.contrib import admin, messages
from django.contrib.admin.options import IncorrectLookupParameters
from django.core.exceptions import PermissionDenied
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.template.loader import render_to_string
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.views.decorators.http import require_POST
from unfold.decorators import display
from unfold.paginator import InfinitePaginator

from accounts.auditlog import trail
from accounts.auditlog.trail import Action
from accounts.identity import may_modify, staff_of
from accounts.models import User
from accounts.staff import links
from accounts.staff.audited_admin import ReadOnlyAdmin
from accounts.staff.confirm_action import RETURN_TO_OBJECT, requires_confirmation
from accounts.staff.exporting_admin import ExportableAdmin
from billing import tiers
from lunaos.infra.plurals import counted
from runs import chain_steps, partitions, services, texts
from runs.metering import charge_reasons
from runs.models import UNFINISHED, Dimension, Figures, HourlyFigures, Run, RunStep, RunText

MAX_OWNERS_SEARCHED = 500  # owners whose runs one search lists
TOO_MANY_OWNERS = (
    "More than {0} addresses contain this text; the list shows runs of the newest {0} users. Type more of the address."
)
FAILURE_FIELDSET = ("Failure", {"fields": ("error_code", "provider_status", "error", "last_attempt")})
TOKEN_FIELDS = ("input_tokens", "cache_read_tokens", "cache_write_tokens", "output_tokens", "reasoning_tokens")
EXPIRED = "no longer kept"
COLOURS = {"succeeded": "success", "failed": "danger", "interrupted": "warning", "running": "info", "queued": "info"}


class ProviderFilter(admin.SimpleListFilter):
    title = parameter_name = "provider"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        # Of the settings: a distinct query would read every run.
        return [(name, name) for name in settings.LLM_PROVIDERS]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Run]) -> QuerySet[Run]:
        return queryset.filter(provider=self.value()) if self.value() else queryset


class AgentFilter(admin.SimpleListFilter):
    title, parameter_name = "agent or chain", "agent"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        # The hourly figures have few rows, and all names.
        names = (
            HourlyFigures.objects.filter(by=Dimension.AGENT).order_by("name").values_list("name", flat=True).distinct()
        )
        return [(name, name) for name in names]

    def has_output(self) -> bool:
        # Links from other pages use the filter also before the first count.
        return True

    def queryset(self, request: HttpRequest, queryset: QuerySet[Run]) -> QuerySet[Run]:
        name = self.value()
        return queryset.filter(Q(agent=name) | Q(chain=name)) if name else queryset


@admin.register(Run)
class RunAdmin(ExportableAdmin, ReadOnlyAdmin):
    list_display = ("created_at", "owner", "what", "state", "error_code", "provider", "model", "cost")
    list_filter = ("status", ProviderFilter, "own_key", AgentFilter)
    date_hierarchy = "created_at"
    list_select_related = ("user",)
    search_fields = ("user__email", "request_id")  # see `get_search_results`
    search_help_text = "A run's id, an e-mail address, or a request id."
    paginator = InfinitePaginator  # does not count millions of runs
    list_per_page = 50
    list_disable_select_all = True
    actions = ("cancel_all",)
    export_order = ("-created_at", "-pk")
    export_columns = (
        *("id", "created_at", "finished_at", "user_id", "user__email", "agent", "chain", "status", "error_code"),
        *("provider", "model", "own_key", "input_tokens", "output_tokens", "cost_usd", "duration_ms"),
        *("first_token_ms", "request_id", "reasoning_tokens", "cache_read_tokens", "cache_write_tokens"),
        *("tokens_estimated", "cost_known", "provider_status", "cancelled_by_staff"),
        *("api_key_id", "api_key_prefix"),
    )
    fieldsets = (
        (None, {"fields": ("id", "user", "what", "status", "why_charged", "key", "request_link")}),
        FAILURE_FIELDSET,
        ("Model", {"fields": ("provider", "model", "own_key")}),
        ("Steps", {"fields": ("timeline",)}),
        ("Tokens", {"fields": (*TOKEN_FIELDS, "counted")}),
        ("Cost and time", {"fields": ("price", "duration_ms", "first_token_ms")}),
        ("Quota", {"fields": ("charge", "charged_month", "cancelled_by_staff")}),
        ("Times", {"fields": ("created_at", "finished_at", "cancel_requested_at", "expires_at")}),
        ("Executor", {"fields": ("heartbeat_at", "attempt", "losses")}),
        ("Texts", {"fields": ("input", "output")}),
    )
    readonly_fields = (
        "what",
        "why_charged",
        "key",
        "request_link",
        "error",
        "last_attempt",
        "timeline",
        "counted",
        "price",
        "input",
        "output",
    )

    # -- Columns and fields --------------------------------------------------------------------------------------------

    @admin.display(description="user", ordering="user__email")
    def owner(self, run: Run) -> SafeString:
        return format_html('<a href="?user__id__exact={}">{}</a>', run.user_id, run.user.email)

    @display(label=COLOURS, ordering="status", description="status")
    def state(self, run: Run) -> tuple[str, str]:
        return run.status, run.get_status_display()

    @admin.display(description="agent or chain")
    def what(self, run: Run) -> str:
        return run.chain or run.agent

    @admin.display(description="quota")
    def why_charged(self, run: Run) -> str:
        return charge_reasons.explain(run)

    @admin.display(description="API key")
    def key(self, run: Run) -> SafeString | str:
        if run.api_key_id is None:
            return "none: a token, or a run of an earlier release"
        return links.to_object("apikeys_apikey", run.api_key_id, f"{run.api_key_prefix}…")

    @admin.display(description="request id")
    def request_link(self, run: Run) -> SafeString | str:
        return links.to_request(run.request_id)

    @admin.display(description="cost, USD", ordering="cost_usd")
    def cost(self, run: Run) -> str:
        return _format_cost(run, places=4)

    @admin.display(description="cost, USD")
    def price(self, run: Run) -> str:
        return _format_cost(run, places=6)

    @admin.display(description="token count")
    def counted(self, run: Run) -> str:
        if not (run.input_tokens or run.output_tokens):
            return "no tokens"
        return "estimated, at least partly" if run.tokens_estimated else "reported by the provider"

    @admin.display(description="message to the client")
    def error(self, run: Run) -> str:
        text = self._text_of(run)
        return text.error if text else EXPIRED

    @admin.display(description="last attempt that failed")
    def last_attempt(self, run: Run) -> SafeString | str:
        text = self._text_of(run)
        if text is None:
            return EXPIRED
        return render_to_string("admin/runs/run/last_attempt.html", {"attempt": text.last_attempt})

    @admin.display(description="steps")
    def timeline(self, run: Run) -> SafeString:
        ended = chain_steps.load(run)
        context = {
            "steps": [
                {"row": step, "kinds": _describe_tokens(step), "cost": _format_cost(step, places=6)} for step in ended
            ],
            "longest_ms": max((step.duration_ms for step in ended), default=0),
            "to_come": run.steps[len(ended) :],
            "unfinished": run.status in UNFINISHED,
        }
        return render_to_string("admin/runs/run/timeline.html", context)

    @admin.display
    def input(self, run: Run) -> SafeString:
        return self._text(run, "input")

    @admin.display
    def output(self, run: Run) -> SafeString:
        return self._text(run, "output")

    def _text(self, run: Run, name: str) -> SafeString:
        text = self._text_of(run)
        return format_html('<pre class="luna-text">{}</pre>', getattr(text, name) if text else EXPIRED)

    def _text_of(self, run: Run) -> RunText | None:
        """Load the run's texts, which may be megabytes, once per page."""
        known: dict[str, Any] = vars(run)
        if "text_read" not in known:
            known["text_read"] = texts.load_text(run)
        return cast(RunText | None, known["text_read"])

    def get_fieldsets(self, request: HttpRequest, obj: Run | None = None) -> Any:
        sets = super().get_fieldsets(request, obj)
        return [each for each in sets if each is not FAILURE_FIELDSET or (obj and obj.error_code)]

    # -- Search --------------------------------------------------------------------------------------------------------

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Run], search_term: str
    ) -> tuple[QuerySet[Run], bool]:
        if not (term := search_term.strip()):
            return queryset, False
        if _is_run_id(term):
            return queryset.filter(pk=term), False
        # Owners first: a join would look up the owner of each of a million runs.
        people = list(
            User.objects.filter(email__icontains=term).values_list("pk", flat=True)[: MAX_OWNERS_SEARCHED + 1]
        )
        if len(people) > MAX_OWNERS_SEARCHED:
            if request.method == "POST":  # an export must not look complete
                raise IncorrectLookupParameters(TOO_MANY_OWNERS.format(MAX_OWNERS_SEARCHED))
            self.message_user(request, TOO_MANY_OWNERS.format(MAX_OWNERS_SEARCHED), messages.WARNING)
        return queryset.filter(Q(user__in=people[:MAX_OWNERS_SEARCHED]) if people else Q(request_id=term)), False

    # -- Cancellation and storage --------------------------------------------------------------------------------------

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        return [
            path("storage/", view(self.storage), name="runs_run_storage"),
            path("<uuid:run_id>/cancel/", view(require_POST(self.cancel)), name="runs_run_cancel"),
            *super().get_urls(),
        ]

    def storage(self, request: HttpRequest) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        sizes = partitions.sizes()
        context = {
            **self.admin_site.each_context(request),
            "title": "Storage of runs",
            "opts": self.opts,
            "partitions": sizes,
            "total": sum(partition.bytes for partition in sizes),
            "retention": {tier.name: tiers.retention_days(tier.name) for tier in tiers.list_all()},
        }
        return TemplateResponse(request, "admin/runs/run/storage.html", context)

    def cancel(self, request: HttpRequest, run_id: UUID) -> HttpResponse:
        """Cancel one run from its page, with the list's confirmation."""
        if not self.has_cancel_permission(request):
            raise PermissionDenied
        run = get_object_or_404(Run, pk=run_id)
        confirmation = self.cancel_all(request, Run.objects.filter(pk=run.pk))
        return confirmation or HttpResponseRedirect(reverse("admin:runs_run_change", args=[run.pk]))

    @admin.action(description="Cancel selected runs", permissions=["cancel"])
    @requires_confirmation("Cancel these runs?", consequence="They end at once; their output so far is kept.")
    def cancel_all(self, request: HttpRequest, queryset: QuerySet[Run]) -> None:
        cancelled = list(self.modifiable(request, queryset.filter(status__in=UNFINISHED)))
        for run in cancelled:
            services.cancel(run, by_staff=True)
            self.log_change(request, run, "Cancelled.")
        self.message_user(request, f"{counted(len(cancelled), 'run', 'are being cancelled')}.", messages.SUCCESS)

    def has_cancel_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("runs.cancel_run")

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        run = context.get("original")
        modifiable = isinstance(run, Run) and run.status in UNFINISHED and may_modify(request, run.user)
        context["may_cancel"] = modifiable and self.has_cancel_permission(request)
        context["back"] = RETURN_TO_OBJECT
        if isinstance(run, Run):  # owners see in their activity that staff read the texts
            trail.record_on_commit(Action.RUN_READ, actor=staff_of(request), subject=run.user, run=str(run.pk))
        return super().render_change_form(request, context, *args, **kwargs)


def _describe_tokens(step: RunStep) -> str:
    """Return the known kinds of a step's tokens, such as `5 from cache, estimated`."""
    counts = {
        "from cache": step.cache_read_tokens,
        "to cache": step.cache_write_tokens,
        "reasoning": step.reasoning_tokens,
    }
    known = [f"{count} {kind}" for kind, count in counts.items() if count]
    return ", ".join([*known, *(["estimated"] if step.tokens_estimated else [])])


def _format_cost(row: Figures, *, places: int) -> str:
    known = f"{row.cost_usd:.{places}f}"
    # A model without a price: the known part and `unknown`.
    if row.cost_known:
        return known
    return f"{known} + unknown" if row.cost_usd else "unknown"


def _is_run_id(term: str) -> bool:
    # A UUID may also be a generated request id.
    with suppress(ValueError):
        return Run.objects.filter(pk=UUID(term)).exists()
    return False
