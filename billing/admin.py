"""Tiers, usage, grants, and what Stripe said, for staff: a tier's figures count within seconds, everywhere."""

from datetime import UTC, datetime
from typing import Any, ClassVar

from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.db.models import DecimalField, F, QuerySet, Sum
from django.db.models.fields.json import KT
from django.db.models.functions import Cast, TruncMonth
from django.forms import ModelForm
from django.http import HttpRequest, HttpResponse
from djstripe import models as stripe_tables
from djstripe.models import Invoice, Subscription

from accounts.identity import staff_of
from accounts.models import User
from accounts.staff.audited_admin import AuditedAdmin, ReadOnlyAdmin
from accounts.staff.confirm_action import confirmed
from accounts.staff.exporting_admin import ExportedAdmin
from billing import grants
from billing.models import Grant, MonthlyUsage, Tier, WebhookEvent
from billing.payments import stripe_mirror, subscription_state

CENTS = 100

# dj-stripe brings pages for all of its tables, which offer to change rows and to call Stripe, and write no audit row.
for model in list(admin.site._registry):
    if model.__module__.startswith(stripe_tables.__name__):
        admin.site.unregister(model)


def _of_invoice(row: Invoice) -> str:
    data = row.stripe_data
    return f"Invoice {data.get('number') or row.id}: {data['amount_due'] / CENTS:.2f} USD, {data['status']}"


def _of_subscription(row: Subscription) -> str:
    return f"{row.id}, {row.stripe_data['status']}"


# What the admin calls a row, in headings, lists and history: dj-stripe would take an invoice's cents for dollars.
Invoice.__str__ = _of_invoice
Subscription.__str__ = _of_subscription


@admin.register(Tier)
class TierAdmin(AuditedAdmin):
    # More columns would scroll sideways at 1280 pixels; the form has all figures.
    list_display = ("name", "rank", "price_usd", "executions", "requests_per_minute", "executions_at_once")
    fieldsets = (
        (None, {"fields": ("name", "rank", "price_usd", "lookup_key", "features")}),
        ("Runs", {"fields": ("executions", "executions_at_once", "starts_per_hour", "requests_per_minute")}),
        ("API keys and code search", {"fields": ("api_keys", "repositories", "stored_bytes")}),
    )

    def get_readonly_fields(self, request: HttpRequest, obj: Tier | None = None) -> tuple[str, ...]:
        return ("name",) if obj else ()  # users and agents name it

    def has_delete_permission(self, request: HttpRequest, obj: Tier | None = None) -> bool:
        return False


@admin.register(MonthlyUsage)
class MonthlyUsageAdmin(ExportedAdmin, ReadOnlyAdmin):
    list_display = ("user", "month", "executions", "chains", "told_percent")
    list_select_related = ("user",)
    list_filter = ("month",)
    search_fields = ("user__email",)
    search_help_text = "A user's e-mail address."
    ordering = ("-month", "-executions")
    export_columns = ("user_id", "user__email", "month", "executions", "chains", "told_percent")


class GrantForm(ModelForm):
    def clean_until(self) -> datetime | None:
        until: datetime | None = self.cleaned_data["until"]
        if until and until <= datetime.now(UTC):
            raise ValidationError("This time is past.")
        return until


@admin.register(Grant)
class GrantAdmin(ExportedAdmin, AuditedAdmin):
    """Made, and ended with all of a user's others; never rewritten."""

    form = GrantForm
    list_display = ("user", "tier", "until", "reason", "granted_by", "created_at", "ended_at")
    list_select_related = ("user", "tier", "granted_by")
    list_filter = ("tier",)
    date_hierarchy = "created_at"
    search_fields = ("user__email", "reason")
    search_help_text = "A user's e-mail address, or the reason."
    autocomplete_fields = ("user",)
    actions = ("end",)
    export_columns = (
        *("id", "user_id", "user__email", "tier_id", "until", "reason", "granted_by__email", "created_at", "ended_at"),
    )

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        """Only superusers grant something to staff, themselves included."""
        field = super().formfield_for_foreignkey(db_field, request, **kwargs)
        if db_field.name == "user" and field and not staff_of(request).is_superuser:
            field.queryset = User.objects.filter(is_staff=False, is_superuser=False)
            field.error_messages["invalid_choice"] = "Only superusers grant a tier to staff."
        return field

    def save_model(self, request: HttpRequest, obj: Grant, form: ModelForm, change: bool) -> None:
        made = grants.grant(
            user=obj.user, tier=obj.tier_id, until=obj.until, reason=obj.reason, actor=staff_of(request)
        )
        obj.pk = made.pk

    @admin.action(description="End all grants of these users", permissions=["add"])
    @confirmed(
        "End all grants of these users?",
        consequence="All that the users of these grants were granted ends, also what is not in this list. "
        "What they pay for stays.",
    )
    def end(self, request: HttpRequest, queryset: QuerySet[Grant]) -> None:
        users = {grant.user for grant in self.touchable(request, queryset).select_related("user")}
        ended = sum(grants.end_grants(user=user, actor=staff_of(request)) for user in users)
        self.message_user(request, f"{ended} grants have ended.", messages.SUCCESS if ended else messages.WARNING)

    def has_change_permission(self, request: HttpRequest, obj: Grant | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Grant | None = None) -> bool:
        return False


class StripeAdmin(ExportedAdmin, ReadOnlyAdmin):
    """What Stripe said last, in dj-stripe's tables."""

    list_select_related = ("customer__subscriber",)
    search_fields = ("id", "customer__id", "customer__subscriber__email")
    search_help_text = "A user's e-mail address, or an id of Stripe's."
    date_hierarchy = "created"
    ordering = ("-created",)
    of_stripe_data: ClassVar[dict[str, str]] = {}  # what a file tells of it: column, and where it lies

    def rows_to_export(self, rows: QuerySet[Any]) -> QuerySet[Any]:
        return rows.annotate(**{name: KT(f"stripe_data__{path}") for name, path in self.of_stripe_data.items()})

    @admin.display(ordering="customer__subscriber__email")
    def user(self, row: Any) -> Any:
        return row.customer.subscriber or "(deleted)"

    @admin.display(description="status")
    def stripe_status(self, row: Any) -> str:
        return str(row.stripe_data["status"])


@admin.register(Subscription)
class SubscriptionAdmin(StripeAdmin):
    list_display = ("id", "user", "stripe_status", "tier", "period_end", "cancels", "created")
    list_filter = (("livemode", admin.BooleanFieldListFilter),)
    of_stripe_data: ClassVar[dict[str, str]] = {
        "stripe_status": "status",
        "stripe_price": "items__data__0__price__lookup_key",
        "stripe_cancels": "cancel_at_period_end",
    }
    export_columns = ("id", "customer_id", "customer__subscriber__email", "livemode", "created", *of_stripe_data)
    fields = readonly_fields = ("id", "user", "stripe_status", "tier", "period_end", "cancels", "livemode", "created")

    @admin.display
    def tier(self, row: Subscription) -> str:
        return subscription_state.read(row).tier or "(unknown price)"

    @admin.display
    def period_end(self, row: Subscription) -> Any:
        return subscription_state.read(row).period_end

    @admin.display(boolean=True)
    def cancels(self, row: Subscription) -> bool:
        return subscription_state.read(row).cancels


class StatusFilter(admin.SimpleListFilter):
    title, parameter_name = "status", "status"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("paid", "Paid"), ("failed", "Failed, and open"), ("open", "Open")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Invoice]) -> QuerySet[Invoice]:
        if self.value() == "failed":
            return queryset.filter(stripe_data__status="open", stripe_data__attempt_count__gt=0)
        return queryset.filter(stripe_data__status=self.value()) if self.value() else queryset


@admin.register(Invoice)
class InvoiceAdmin(StripeAdmin):
    """Invoices, and above them what they come to by month and tier."""

    list_display = ("id", "user", "stripe_status", "tier", "due_usd", "paid_usd", "attempts", "created")
    list_filter = (StatusFilter,)
    of_stripe_data: ClassVar[dict[str, str]] = {
        f"stripe_{name}": name
        for name in ("status", "number", "tier", "currency", "amount_due", "amount_paid", "attempt_count")
    }
    export_columns = ("id", "customer_id", "customer__subscriber__email", "created", *of_stripe_data)
    change_list_template = "admin/billing/invoices.html"
    fields = readonly_fields = list_display

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        return super().changelist_view(request, {**(extra_context or {}), "revenue": revenue()})

    @admin.display
    def tier(self, row: Invoice) -> str:
        return row.stripe_data["tier"] or ""

    @admin.display
    def due_usd(self, row: Invoice) -> str:
        return f"{row.stripe_data['amount_due'] / CENTS:.2f}"

    @admin.display
    def paid_usd(self, row: Invoice) -> str:
        return f"{row.stripe_data['amount_paid'] / CENTS:.2f}"

    @admin.display
    def attempts(self, row: Invoice) -> int:
        return int(row.stripe_data["attempt_count"])


@admin.register(WebhookEvent)
class WebhookEventAdmin(ReadOnlyAdmin):
    list_display = ("id", "kind", "customer_id", "made_at", "handled_at")
    list_filter = ("kind",)
    search_fields = ("id", "customer_id")
    search_help_text = "An id of Stripe's: the event's or the customer's."


def revenue(months: int = 12) -> list[dict[str, Any]]:
    """What was paid, in USD, by month and tier, the newest month first."""
    cents = Cast(KT("stripe_data__amount_paid"), DecimalField(max_digits=14, decimal_places=2))
    paid = Invoice.objects.filter(stripe_mirror.of_this_mode(), stripe_data__status="paid", stripe_data__currency="usd")
    by_month = paid.values(month=TruncMonth("created"), tier=KT("stripe_data__tier")).annotate(usd=Sum(cents) / CENTS)
    return list(by_month.order_by(F("month").desc(), "tier")[: 3 * months])
