"""Users as staff look for them: with their tier and state, when they were seen last, what they run and spend.

It lies here and not in `accounts`, since it knows of runs and keys, and imports go down only. `accounts.admin` has what
can be done to an account by itself; this adds the rest, and takes its place at the admin's site.
"""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from django.contrib import admin, messages
from django.db.models import Count, DecimalField, IntegerField, OuterRef, Q, QuerySet, Subquery, Sum, Value
from django.db.models.functions import Coalesce, Greatest
from django.http import HttpRequest
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.formats import date_format
from django.utils.html import format_html_join
from django.utils.safestring import SafeString
from unfold.decorators import display

from accounts.admin import AccountAdmin
from accounts.confirmation import confirmed
from accounts.identity import staff_of
from accounts.models import User
from apikeys import services as keys
from apikeys.models import ApiKey
from billing import mirror, standing, tiers
from billing.models import WebhookEvent
from runs.models import Run
from web.templatetags.house import figure

STATES = {"active": "success", "unconfirmed": "info", "disabled": "danger", "being deleted": "warning"}
SHOWN = 10  # of each kind; the lists have the rest
ELSEWHERE = (
    ("Runs", "runs_run", "user__id__exact", "pk"),
    ("API keys", "apikeys_apikey", "q", "email"),
    ("Usage", "billing_monthlyusage", "q", "email"),
    ("Audit trail", "accounts_auditevent", "q", "pk"),
)


class TierFilter(admin.SimpleListFilter):
    """From the tiers: a distinct query would read every user."""

    title = parameter_name = "tier"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(name, name) for name in tiers.names()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[User]) -> QuerySet[User]:
        return queryset.filter(tier=self.value()) if self.value() else queryset


class StateFilter(admin.SimpleListFilter):
    title = parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(state, state) for state in STATES]

    def queryset(self, request: HttpRequest, queryset: QuerySet[User]) -> QuerySet[User]:
        chosen = {
            "active": Q(is_active=True),
            "unconfirmed": Q(is_active=True, email_verified_at=None),
            "disabled": Q(is_active=False, erasing_since=None),
            "being deleted": Q(erasing_since__isnull=False),
        }
        return queryset.filter(chosen.get(self.value() or "", Q()))


class UserAdmin(AccountAdmin):
    """The page of users that staff see."""

    list_display = ("email", "name", "tier", "state", "last_seen", "runs_this_month", "spent_this_month", "created_at")
    list_filter = (TierFilter, StateFilter, "is_staff", "created_at")
    list_per_page = 50
    search_fields = ("email", "name", "id")
    search_help_text = "An e-mail address, a name, or an id."
    readonly_fields = (
        *AccountAdmin.readonly_fields,
        *("last_seen", "runs_this_month", "spent_this_month", "elsewhere", "payments"),
    )
    actions = (*AccountAdmin.actions, "revoke_keys")
    fieldsets = (
        *AccountAdmin.fieldsets[:1],
        ("Activity", {"fields": ("last_seen", "runs_this_month", "spent_this_month", "elsewhere")}),
        ("Billing", {"fields": ("payments",)}),
        *AccountAdmin.fieldsets[1:],
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[User]:
        """With what the columns show, by subqueries that are asked for the rows of one page only."""
        mine = Run.objects.filter(user=OuterRef("pk")).order_by()
        month = datetime.now(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
        this_month = mine.filter(created_at__gte=month).values("user")
        used = ApiKey.objects.filter(user=OuterRef("pk"), last_used_at__isnull=False).order_by("-last_used_at")
        return (
            super()
            .get_queryset(request)
            .annotate(
                run_count=_of(this_month, Count("pk"), Value(0), IntegerField()),
                spent_usd=_of(this_month, Sum("cost_usd", filter=Q(own_key=False)), Value(Decimal(0)), DecimalField()),
                seen_at=Greatest(
                    "last_login",
                    Subquery(used.values("last_used_at")[:1]),
                    Subquery(mine.order_by("-created_at").values("created_at")[:1]),
                ),
            )
        )

    @admin.display(description="payments")
    def payments(self, user: User) -> SafeString:
        """Subscriptions, invoices, grants and Stripe's events of a user."""
        customer = mirror.customer_of(user)
        context: dict[str, Any] = {"grants": user.grants.select_related("tier")[:SHOWN], "customer": customer}
        if customer:
            context["subscriptions"] = standing.of_customer(customer)[:SHOWN]
            context["invoices"] = customer.invoices.order_by("-created")[:SHOWN]
            context["events"] = WebhookEvent.objects.filter(customer_id=customer.id)[:SHOWN]
        return render_to_string("admin/accounts/payments.html", context)

    @display(label=STATES)
    def state(self, user: User) -> str:
        if user.erasing_since:
            return "being deleted"
        if not user.is_active:
            return "disabled"
        return "active" if user.email_verified_at else "unconfirmed"

    @admin.display(description="last seen", ordering="seen_at")
    def last_seen(self, user: User) -> str:
        """The last sign-in, use of a key, or run."""
        seen_at = user.__dict__.get("seen_at")
        return date_format(seen_at, "DATETIME_FORMAT") if seen_at else "-"

    @admin.display(description="runs this month", ordering="run_count")
    def runs_this_month(self, user: User) -> int:
        return int(user.__dict__.get("run_count", 0))

    @admin.display(description="spent this month", ordering="spent_usd")
    def spent_this_month(self, user: User) -> str:
        """Of the platform's money: runs on the user's own keys cost it nothing."""
        return figure(user.__dict__.get("spent_usd", 0), "usd")

    @admin.display(description="more of this user")
    def elsewhere(self, user: User) -> SafeString:
        links = (
            (f"{reverse(f'admin:{page}_changelist')}?{parameter}={getattr(user, attribute)}", title)
            for title, page, parameter, attribute in ELSEWHERE
        )
        return format_html_join(" \u00b7 ", '<a href="{}" class="text-primary-600 dark:text-primary-500">{}</a>', links)

    @admin.action(description="Revoke all keys", permissions=["revoke_keys"])
    @confirmed(
        "Revoke all API keys?", consequence="Programs that use them are refused at once; a key never comes back."
    )
    def revoke_keys(self, request: HttpRequest, queryset: QuerySet[User]) -> None:
        users = [user.pk for user in queryset if self._may_touch(request, user)]
        revoked = keys.revoke_all(ApiKey.objects.filter(user__in=users), actor=staff_of(request))
        self.message_user(request, f"{revoked} keys are revoked.", messages.SUCCESS)

    def has_revoke_keys_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("apikeys.revoke_apikey")

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        """With the list's actions as buttons, for this one user."""
        deeds = self.get_actions(request) if context.get("original") else {}
        context["deeds"] = [(name, deed[2]) for name, deed in deeds.items() if deed and name != "delete_selected"]
        return super().render_change_form(request, context, *args, **kwargs)


def _of(runs: QuerySet[Any, Any], figure: Any, none: Value, kind: Any) -> Coalesce:
    return Coalesce(Subquery(runs.annotate(figure=figure).values("figure"), output_field=kind), none)


admin.site.unregister(User)
admin.site.register(User, UserAdmin)
