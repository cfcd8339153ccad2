"""Register tiers, usage, grants, subscriptions and invoices in the admin."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, ClassVar

from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.db.models import DecimalField, F, QuerySet, Sum
from django.db.models.fields.json import KT
from django.db.models.functions import Cast, Coalesce, TruncMonth
from django.forms import ModelForm
from django.http import HttpRequest, HttpResponse
from djstripe import models as stripe_tables
from djstripe.models import Invoice, Subscription

from accounts.identity import staff_of
from accounts.models import User
from accounts.staff.audited_admin import AuditedAdmin, ReadOnlyAdmin
from accounts.staff.confirm_action import requires_confirmation
from accounts.staff.exporting_admin import ExportableAdmin
from billing import grants
from billing.models import Grant, MonthlyUsage, Tier, WebhookEvent
from billing.payments import stripe_mirror, subscription_state
from lunaos.infra import patches

CENTS_PER_USD = 100

# dj-stripe registers pages for all of its tables. They let staff change rows and call Stripe, and write no audit row.
for model in list(admin.site._registry):
    if model.__module__.startswith(stripe_tables.__name__):
        admin.site.unregister(model)


def _label_invoice(row: Invoice) -> str:
    data = row.stripe_data
    return f"Invoice {data.get('number') or row.id}: {data['amount_due'] / CENTS_PER_USD:.2f} USD, {data['status']}"


def _label_subscription(row: Subscription) -> str:
    return f"{row.id}, {row.stripe_data['status']}"


# The admin shows these labels in headings, lists and history. dj-stripe would print an invoice's cents as dollars.
patches.replace_str(Invoice, _label_invoice)
patches.replace_str(Subscription, _label_subscription)


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
        return ("name",) if obj else ()  # users and agents refer to a tier by name

    def has_delete_permission(self, request: HttpRequest, obj: Tier | None = None) -> bool:
        return False


@admin.register(MonthlyUsage)
class MonthlyUsageAdmin(ExportableAdmin, ReadOnlyAdmin):
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
            raise ValidationError("This time is in the past. Choose a later one, or leave it empty for no end.")
        return until


@admin.register(Grant)
class GrantAdmin(ExportableAdmin, AuditedAdmin):
    """Lets staff make grants and end all grants of a user; a grant is never edited."""

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
        """Offer staff accounts to superusers only, also where staff would choose themselves."""
        field = super().formfield_for_foreignkey(db_field, request, **kwargs)
        if db_field.name == "user" and field and not staff_of(request).is_superuser:
            field.queryset = User.objects.filter(is_staff=False, is_superuser=False)
            field.error_messages["invalid_choice"] = "Only superusers can grant a tier to staff."
        return field

    def save_model(self, request: HttpRequest, obj: Grant, form: ModelForm, change: bool) -> None:
        grant = grants.grant(
            user=obj.user, tier=obj.tier_id, until=obj.until, reason=obj.reason, actor=staff_of(request)
        )
        obj.pk = grant.pk

    @admin.action(description="End all grants of these users", permissions=["add"])
    @requires_confirmation(
        "End all grants of these users?",
        consequence="All grants of these users end, including grants that are not in this list. "
        "Tiers that the users pay for stay.",
    )
    def end(self, request: HttpRequest, queryset: QuerySet[Grant]) -> None:
        users = {grant.user for grant in self.modifiable(request, queryset).select_related("user")}
        ended = sum(grants.end_grants(user=user, actor=staff_of(request)) for user in users)
        self.message_user(request, f"{ended} grants have ended.", messages.SUCCESS if ended else messages.WARNING)

    def has_change_permission(self, request: HttpRequest, obj: Grant | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Grant | None = None) -> bool:
        return False


class StripeAdmin(ExportableAdmin, ReadOnlyAdmin):
    """Shows the rows that Stripe's last answer left in dj-stripe's tables."""

    list_select_related = ("customer__subscriber",)
    search_fields = ("id", "customer__id", "customer__subscriber__email")
    search_help_text = "A user's e-mail address, or an id at Stripe."
    date_hierarchy = "created"
    ordering = ("-created",)
    stripe_data_columns: ClassVar[dict[str, str]] = {}  # export column: path in stripe_data

    def rows_to_export(self, rows: QuerySet[Any]) -> QuerySet[Any]:
        return rows.annotate(**{name: KT(f"stripe_data__{path}") for name, path in self.stripe_data_columns.items()})

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
    stripe_data_columns: ClassVar[dict[str, str]] = {
        "stripe_status": "status",
        "stripe_price": "items__data__0__price__lookup_key",
        "stripe_cancels": "cancel_at_period_end",
    }
    export_columns = ("id", "customer_id", "customer__subscriber__email", "livemode", "created", *stripe_data_columns)
    fields = readonly_fields = ("id", "user", "stripe_status", "tier", "period_end", "cancels", "livemode", "created")

    @admin.display
    def tier(self, row: Subscription) -> str:
        return subscription_state.from_row(row).tier or "(unknown price)"

    @admin.display
    def period_end(self, row: Subscription) -> Any:
        return subscription_state.from_row(row).period_end

    @admin.display(boolean=True)
    def cancels(self, row: Subscription) -> bool:
        return subscription_state.from_row(row).cancels


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
    """Lists invoices, with the revenue by month and tier above them."""

    list_display = ("id", "user", "stripe_status", "tier", "due_usd", "paid_usd", "attempts", "created")
    list_filter = (StatusFilter,)
    stripe_data_columns: ClassVar[dict[str, str]] = {
        f"stripe_{name}": name
        for name in ("status", "number", "tier", "currency", "amount_due", "amount_paid", "attempt_count")
    }
    export_columns = ("id", "customer_id", "customer__subscriber__email", "created", *stripe_data_columns)
    change_list_template = "admin/billing/invoices.html"
    fields = readonly_fields = list_display

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        return super().changelist_view(request, {**(extra_context or {}), "revenue": revenue()})

    @admin.display
    def tier(self, row: Invoice) -> str:
        return row.stripe_data["tier"] or ""

    @admin.display
    def due_usd(self, row: Invoice) -> str:
        return f"{row.stripe_data['amount_due'] / CENTS_PER_USD:.2f}"

    @admin.display
    def paid_usd(self, row: Invoice) -> str:
        return f"{row.stripe_data['amount_paid'] / CENTS_PER_USD:.2f}"

    @admin.display
    def attempts(self, row: Invoice) -> int:
        return int(row.stripe_data["attempt_count"])


@admin.register(WebhookEvent)
class WebhookEventAdmin(ReadOnlyAdmin):
    list_display = ("id", "kind", "customer_id", "made_at", "handled_at")
    list_filter = ("kind",)
    search_fields = ("id", "customer_id")
    search_help_text = "The id of an event or a customer at Stripe."


def revenue(months: int = 12) -> list[dict[str, Any]]:
    """Return what the invoices of the last calendar months brought in USD, the newest first, by tier.

    Refunds and lost disputes are deducted in the month of their invoice.
    """
    invoices = Invoice.objects.filter(
        stripe_mirror.in_current_mode(),
        created__gte=_start_of_month(months - 1),
        stripe_data__status="paid",
        stripe_data__currency="usd",
    )
    by_month = invoices.values(month=TruncMonth("created"), tier=KT("stripe_data__tier"))
    sums = by_month.annotate(paid=_usd("amount_paid"), refunded=_usd("amount_refunded"), lost=_usd("amount_lost"))
    return list(sums.annotate(net=F("paid") - F("refunded") - F("lost")).order_by(F("month").desc(), "tier"))


def _usd(name: str) -> Any:
    cents = Cast(KT(f"stripe_data__{name}"), DecimalField(max_digits=14, decimal_places=2))
    return Coalesce(Sum(cents), Decimal(0)) / CENTS_PER_USD


def _start_of_month(months_ago: int) -> datetime:
    now = datetime.now(UTC)
    year, month = divmod(now.year * 12 + now.month - 1 - months_ago, 12)
    return datetime(year, month + 1, 1, tzinfo=UTC)
