"""Shared parts of the pages of Stripe's objects: labels, search, links to Stripe's dashboard."""

from datetime import datetime
from typing import Any, ClassVar

from django.contrib import admin
from django.db.models import QuerySet
from django.db.models.fields.json import KT
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from djstripe import models as stripe_tables
from djstripe.models import Invoice, Subscription

from accounts.staff.audited_admin import ReadOnlyAdmin
from accounts.staff.exporting_admin import ExportableAdmin
from billing.money import format_amount
from billing.payments import dashboard_links
from lunaos.infra import patches

UTC_NOTE = "All times are in UTC."
LINK = '<a class="text-primary-600 dark:text-primary-500" href="{}" rel="noreferrer">{}</a>'

# dj-stripe registers pages for all of its tables. They let staff change rows and call Stripe, and write no audit row.
for model in list(admin.site._registry):
    if model.__module__.startswith(stripe_tables.__name__):
        admin.site.unregister(model)


def label_invoice(row: Invoice) -> str:
    data = row.stripe_data
    return f"Invoice {data.get('number') or row.id}, {format_amount(data['amount_due'], data.get('currency', 'usd'))}"


def label_subscription(row: Subscription) -> str:
    return f"Subscription of {row.customer.subscriber or 'a deleted account'}"


# The admin shows these labels in headings, lists and history. dj-stripe would print an invoice's cents as dollars.
patches.replace_str(Invoice, label_invoice)
patches.replace_str(Subscription, label_subscription)


class StripeAdmin(ExportableAdmin, ReadOnlyAdmin):
    """Shows the rows that Stripe's last answer left in dj-stripe's tables."""

    list_select_related = ("customer__subscriber",)
    search_fields: tuple[str, ...] = ("id", "customer__id", "customer__subscriber__email")
    search_help_text = "A user's e-mail address, or an id at Stripe."
    date_hierarchy = "created"
    ordering = ("-created",)
    dashboard_kind: ClassVar[str] = ""  # the dashboard's word for the objects
    stripe_data_columns: ClassVar[dict[str, str]] = {}  # export column: path in stripe_data

    def rows_to_export(self, rows: QuerySet[Any]) -> QuerySet[Any]:
        return rows.annotate(**{name: KT(f"stripe_data__{path}") for name, path in self.stripe_data_columns.items()})

    @admin.display(description="created, UTC", ordering="created")
    def made(self, row: Any) -> datetime:
        created: datetime = row.created
        return created

    @admin.display(ordering="customer__subscriber__email")
    def user(self, row: Any) -> Any:
        return row.customer.subscriber or "(deleted)"

    @admin.display(description="user")
    def owner(self, row: Any) -> Any:
        user = row.customer.subscriber
        if user is None:
            return "(deleted)"
        return format_html(LINK, reverse("admin:accounts_user_change", args=[user.pk]), user)

    @admin.display(description="at Stripe")
    def at_stripe(self, row: Any) -> SafeString:
        url = dashboard_links.link_to(self.dashboard_kind, row.id, livemode=bool(row.livemode))
        mode = "live mode" if row.livemode else "test mode"
        return format_html(f"{LINK} ({{}})", url, row.id, mode)
