"""Subscriptions in the admin: what each gives, and until when."""

from datetime import UTC, datetime
from typing import Any, ClassVar

from django.contrib import admin
from djstripe.models import Subscription
from unfold.decorators import display

from billing.admin.stripe_pages import UTC_NOTE, StripeAdmin
from billing.payments import disputes, subscription_state, wording

COLOURS = {"paid": "success", "payment due": "warning", "not paid": "danger", "ended": "info"}


@admin.register(Subscription)
class SubscriptionAdmin(StripeAdmin):
    dashboard_kind = "subscriptions"
    list_display = ("user", "tier", "state", "what_follows", "made")
    list_filter = (("livemode", admin.BooleanFieldListFilter),)
    stripe_data_columns: ClassVar[dict[str, str]] = {
        "stripe_status": "status",
        "stripe_price": "items__data__0__price__lookup_key",
        "stripe_cancels": "cancel_at_period_end",
    }
    export_columns = ("id", "customer_id", "customer__subscriber__email", "livemode", "created", *stripe_data_columns)
    readonly_fields = ("owner", "tier", "what_follows", "gives", "stripe_status", "at_stripe")
    fieldsets = (
        (None, {"fields": ("owner", "tier", "what_follows", "gives"), "description": UTC_NOTE}),
        ("At Stripe", {"fields": ("at_stripe", "stripe_status", "created")}),
    )

    @admin.display
    def tier(self, row: Subscription) -> str:
        return subscription_state.from_row(row).tier or "(unknown price)"

    @display(label=COLOURS)
    def state(self, row: Subscription) -> str:
        subscription = subscription_state.from_row(row)
        if not subscription.is_live:
            return "ended"
        if subscription.is_paid:
            return "paid"
        return "payment due" if subscription.status == "past_due" else "not paid"

    @admin.display(description="in words")
    def what_follows(self, row: Subscription) -> str:
        """Say until when it is paid, and what follows."""
        [subscription] = self._with_open_invoices(row)
        return wording.describe_subscription(subscription, datetime.now(UTC))

    @admin.display(description="gives")
    def gives(self, row: Subscription) -> str:
        """Say which tier it gives now, a lost dispute considered."""
        [subscription] = self._with_open_invoices(row)
        if (user := row.customer.subscriber) and disputes.ends_paid_tier(user):
            return "no tier, since a dispute was lost"
        return (subscription.tier or "no tier") if subscription.gives_tier(datetime.now(UTC)) else "no tier"

    @admin.display(description="Stripe's word for the state")
    def stripe_status(self, row: Subscription) -> str:
        return str(row.stripe_data["status"])

    def _with_open_invoices(self, row: Subscription) -> list[Any]:
        # Read a row; open invoices, which the list has fetched for all rows, say since when a payment is due.
        invoices = [each for each in row.customer.invoices.all() if each.stripe_data["status"] == "open"]
        created_at = [each.created for each in invoices if each.stripe_data.get("subscription") == row.id]
        return [subscription_state.from_row(row, min(created_at, default=None))]

    def get_queryset(self, request: Any) -> Any:
        return super().get_queryset(request).prefetch_related("customer__invoices")
