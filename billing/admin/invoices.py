"""Invoices in the admin: the answer to "why was I charged?" first, and the revenue above the list."""

from collections.abc import Container
from typing import Any, ClassVar

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.utils.safestring import SafeString
from djstripe.models import Charge, Invoice
from unfold.decorators import display

from billing.admin import revenue
from billing.admin.stripe_pages import UTC_NOTE, StripeAdmin
from billing.models import DisputeWaiver
from billing.money import format_amount
from billing.payments import dashboard_links, wording

COLOURS = {
    **{"paid": "success", "open": "info", "draft": "info", "void": "info"},
    **{"payment failed": "danger", "given up": "danger", "disputed": "danger", "lost in a dispute": "danger"},
    **{"refunded": "warning", "refunded in part": "warning"},
}
REASONS = {
    "subscription_create": "the subscription began",
    "subscription_cycle": "a new period began",
    "subscription_update": "the tier changed in the middle of a period, and the difference was charged at once",
    "manual": "staff made it at Stripe",
}


class StateFilter(admin.SimpleListFilter):
    title, parameter_name = "state", "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        names = ("paid", "failed", "open", "refunded", "disputed")
        return [(name, name.capitalize()) for name in names]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Invoice]) -> QuerySet[Invoice]:
        is_open = Q(stripe_data__status="open")
        chosen = {
            "paid": Q(stripe_data__status="paid"),
            "failed": is_open & Q(stripe_data__attempt_count__gt=0),
            "open": is_open,
            "refunded": Q(stripe_data__amount_refunded__gt=0),
            "disputed": Q(pk__in=Charge.objects.filter(disputes__isnull=False).values("invoice__pk")),
        }
        return queryset.filter(chosen.get(self.value() or "", Q()))


@admin.register(Invoice)
class InvoiceAdmin(StripeAdmin):
    """Lists invoices, with the revenue by month and tier above them."""

    dashboard_kind = "invoices"
    list_display = ("number", "user", "amount", "state", "tier", "card", "made")
    list_filter = (StateFilter,)
    search_fields = (*StripeAdmin.search_fields, "stripe_data__number", "charges__id")
    search_help_text = "A user's e-mail address, an invoice's number, or an id at Stripe."
    stripe_data_columns: ClassVar[dict[str, str]] = {
        f"stripe_{name}": name
        for name in (
            *("status", "number", "tier", "currency", "amount_due", "amount_paid", "attempt_count"),
            *("amount_refunded", "amount_lost"),
        )
    }
    export_columns = ("id", "customer_id", "customer__subscriber__email", "created", *stripe_data_columns)
    change_list_template = "admin/billing/invoices.html"
    readonly_fields = (
        "answer",
        "owner",
        "state",
        "amount",
        "tier",
        "period",
        "reason",
        "lines",
        "payments",
        "at_stripe",
    )
    fieldsets = (
        ("Why was I charged?", {"fields": ("answer", "owner", "state", "at_stripe"), "description": UTC_NOTE}),
        ("What for", {"fields": ("amount", "tier", "period", "reason", "lines")}),
        ("Payments, refunds and disputes", {"fields": ("payments",)}),
    )

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        context = {**(extra_context or {}), "revenue": revenue.by_month_and_tier()}
        return super().changelist_view(request, context)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Invoice]:
        return super().get_queryset(request).prefetch_related("charges__disputes")

    @admin.display(ordering="stripe_data__number")
    def number(self, row: Invoice) -> str:
        return number_of(row)

    @admin.display(ordering="stripe_data__amount_due")
    def amount(self, row: Invoice) -> str:
        return format_amount(row.stripe_data["amount_due"], currency_of(row))

    @display(label=COLOURS)
    def state(self, row: Invoice) -> str:
        return wording.invoice_state(row.stripe_data, dispute_data(row))

    @admin.display
    def tier(self, row: Invoice) -> str:
        return row.stripe_data["tier"] or "(unknown price)"

    @admin.display
    def card(self, row: Invoice) -> str:
        return card_of(row)

    @admin.display(description="answer")
    def answer(self, row: Invoice) -> str:
        return " ".join(wording.explain_invoice(row.stripe_data, charge_data(row), dispute_data(row)))

    @admin.display
    def period(self, row: Invoice) -> str:
        return wording.describe_period(row.stripe_data)

    @admin.display
    def reason(self, row: Invoice) -> str:
        reason = row.stripe_data.get("billing_reason") or ""
        return REASONS.get(reason, reason.replace("_", " "))

    @admin.display
    def lines(self, row: Invoice) -> SafeString | str:
        lines = [
            {
                "what": line["description"],
                "period": wording.describe_period({"lines": [line]}),
                "amount": format_amount(line["amount"], currency_of(row)),
            }
            for line in row.stripe_data.get("lines", ())
        ]
        return render_to_string("admin/billing/lines.html", {"lines": lines}) if lines else "not stored"

    @admin.display(description="attempts to charge")
    def payments(self, row: Invoice) -> SafeString | str:
        rows = charge_rows(row)
        ids = [dispute.id for charge in rows for dispute in charge.disputes.all()]
        waived = (
            set(DisputeWaiver.objects.filter(dispute_id__in=ids).values_list("dispute_id", flat=True)) if ids else ()
        )
        found = [_describe_charge(charge, waived) for charge in rows]
        return render_to_string("admin/billing/charges.html", {"charges": found}) if found else "none known"


def number_of(row: Invoice) -> str:
    return str(row.stripe_data.get("number") or "(no number yet)")


def card_of(row: Invoice) -> str:
    """Return the card of the last attempt to charge."""
    newest = next(iter(charge_data(row)), None)
    return wording.describe_card(newest["card"]) if newest else wording.NO_CARD


def currency_of(row: Invoice) -> str:
    return str(row.stripe_data.get("currency", "usd"))


def charge_rows(row: Invoice) -> list[Charge]:
    """Return the attempts to charge, the newest first, from what the page has fetched."""
    return sorted(row.charges.all(), key=lambda charge: charge.stripe_data["created"], reverse=True)


def charge_data(row: Invoice) -> list[dict[str, Any]]:
    return [charge.stripe_data for charge in charge_rows(row)]


def dispute_data(row: Invoice) -> list[dict[str, Any]]:
    return [dispute.stripe_data for charge in charge_rows(row) for dispute in charge.disputes.all()]


def _describe_charge(charge: Charge, waived: Container[str]) -> dict[str, Any]:
    data = charge.stripe_data
    return {
        "made": wording.format_day(data["created"]),
        "amount": format_amount(data["amount"], data["currency"]),
        "card": wording.describe_card(data["card"]),
        "state": data["failure_message"] or data["status"],
        "url": dashboard_links.link_to("payments", data["payment_intent"] or charge.id, livemode=bool(charge.livemode)),
        "id": charge.id,
        "refunds": [
            {
                "made": wording.format_day(refund["created"]),
                "amount": format_amount(refund["amount"], data["currency"]),
                "state": refund["status"],
                "reason": (refund.get("reason") or "").replace("_", " "),
            }
            for refund in data["refunds"]
        ],
        "disputes": [
            {
                "made": wording.format_day(dispute.stripe_data["created"]),
                "amount": format_amount(dispute.stripe_data["amount"], dispute.stripe_data["currency"]),
                "state": wording.describe_dispute(dispute.stripe_data),
                "reason": wording.describe_reason(dispute.stripe_data),
                "waived": dispute.id in waived,
            }
            for dispute in charge.disputes.all()
        ],
    }
