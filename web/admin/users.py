"""User list and user pages of the admin, with last activity, runs and spending.

They lie here and not in `accounts`, which must not import runs and keys.
"""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.db.models import Count, DecimalField, IntegerField, OuterRef, Q, QuerySet, Subquery, Sum, Value
from django.db.models.functions import Coalesce, Greatest
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.formats import date_format
from unfold.decorators import display

from accounts.admin import AccountAdmin
from accounts.identity import staff_of
from accounts.models import User, UserNote
from accounts.staff.confirm_action import RETURN_TO_OBJECT, change_page_url, requires_confirmation
from apikeys import services as keys
from apikeys.models import ApiKey
from billing import grants, tiers
from billing.admin import user_payments
from billing.payments import disputes
from lunaos.infra.plurals import counted
from runs.models import Run
from web.admin import user_page
from web.admin.note_form import NoteForm
from web.admin.reason_form import ReasonForm
from web.admin.tier_form import TierForm
from web.templatetags.number_format import format_figure

STATES = {"active": "success", "unconfirmed": "info", "disabled": "danger", "being deleted": "warning"}
MAX_WARNINGS = 5  # about users
SUBSCRIPTION_PAYS_FOR_MORE = "A subscription pays for a higher tier: {} stays on {}."


class TierFilter(admin.SimpleListFilter):
    title = parameter_name = "tier"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        # From the tiers, not from a query over all users.
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


@admin.register(User)
class UserAdmin(AccountAdmin):
    list_display = ("email", "name", "tier", "state", "last_seen", "runs_this_month", "spent_this_month", "created_at")
    list_filter = (TierFilter, StateFilter, "is_staff")
    date_hierarchy = "created_at"
    list_per_page = 50
    search_fields = ("email", "name", "id")
    search_help_text = "An e-mail address, a name, or an id."
    export_order = ("-created_at", "-pk")
    export_columns = (
        *("id", "email", "email_verified_at", "name", "tier", "is_active", "is_staff", "created_at", "last_login"),
        *("seen_at", "run_count", "spent_usd"),
    )
    actions = ("set_tier", "restore_tier", *AccountAdmin.actions, "revoke_keys", "add_note")

    def get_queryset(self, request: HttpRequest) -> QuerySet[User]:
        # As subqueries, the columns are computed for the rows of one page only.
        user_runs = Run.objects.filter(user=OuterRef("pk")).order_by()
        month = datetime.now(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
        this_month = user_runs.filter(created_at__gte=month).values("user")
        used = ApiKey.objects.filter(user=OuterRef("pk"), last_used_at__isnull=False).order_by("-last_used_at")
        return (
            super()
            .get_queryset(request)
            .annotate(
                run_count=_aggregate(this_month, Count("pk"), Value(0), IntegerField()),
                spent_usd=_aggregate(
                    this_month, Sum("cost_usd", filter=Q(own_key=False)), Value(Decimal(0)), DecimalField()
                ),
                seen_at=Greatest(
                    "last_login",
                    Subquery(used.values("last_used_at")[:1]),
                    Subquery(user_runs.order_by("-created_at").values("created_at")[:1]),
                ),
            )
        )

    @display(label=STATES)
    def state(self, user: User) -> str:
        if user.erasing_since:
            return "being deleted"
        if not user.is_active:
            return "disabled"
        return "active" if user.email_verified_at else "unconfirmed"

    @admin.display(description="last seen", ordering="seen_at")
    def last_seen(self, user: User) -> str:
        seen_at = user.__dict__.get("seen_at")
        return date_format(seen_at, "DATETIME_FORMAT") if seen_at else "-"

    @admin.display(description="runs this month", ordering="run_count")
    def runs_this_month(self, user: User) -> int:
        return int(user.__dict__.get("run_count", 0))

    @admin.display(description="spent this month", ordering="spent_usd")
    def spent_this_month(self, user: User) -> str:
        # Without runs on the users' own keys, which cost the platform nothing.
        return format_figure(user.__dict__.get("spent_usd", 0), "usd")

    @admin.action(description="Set tier", permissions=["set_tier"])
    @requires_confirmation(
        "Set the tier",
        consequence="The grant replaces earlier grants from the next request on. "
        "A subscription stays: the higher of the two tiers counts.",
        form=TierForm,
    )
    def set_tier(self, request: HttpRequest, queryset: QuerySet[User], cleaned: dict[str, Any]) -> None:
        users = list(self.modifiable(request, queryset, owner=""))
        for user in users:
            grants.set_tier(user=user, actor=staff_of(request), **cleaned)
        moved = [user for user in users if user.tier == cleaned["tier"]]
        for user in [user for user in users if user not in moved][:MAX_WARNINGS]:
            self.message_user(request, SUBSCRIPTION_PAYS_FOR_MORE.format(user.email, user.tier), messages.WARNING)
        if moved:
            subject = f"{len(moved)} users are" if len(moved) > 1 else f"{moved[0].email} is"
            self.message_user(request, f"{subject} on {cleaned['tier']} now.", messages.SUCCESS)

    def has_set_tier_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("billing.add_grant")

    @admin.action(description="Restore the paid tier", permissions=["restore_tier"])
    @requires_confirmation(
        "Restore the paid tier?",
        consequence="Disputes that were lost no longer count: the subscription gives its tier, and the users can "
        "subscribe again. A dispute that is lost later counts anew.",
        form=ReasonForm,
    )
    def restore_tier(self, request: HttpRequest, queryset: QuerySet[User], cleaned: dict[str, Any]) -> None:
        users = self.modifiable(request, queryset, owner="")
        waived = sum(
            grants.waive_lost_disputes(user=user, reason=cleaned["reason"], actor=staff_of(request)) for user in users
        )
        said = f"{counted(waived, 'lost dispute', 'are waived')}." if waived else "No dispute was lost."
        self.message_user(request, said, messages.SUCCESS if waived else messages.WARNING)

    def has_restore_tier_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("billing.add_disputewaiver")

    @admin.action(description="Add a note", permissions=["add_note"])
    @requires_confirmation(
        "Add a note",
        consequence="Staff see the note on the user's page. It cannot be changed, and the user gets it with an export.",
        form=NoteForm,
    )
    def add_note(self, request: HttpRequest, queryset: QuerySet[User], cleaned: dict[str, Any]) -> None:
        author = staff_of(request)
        made = UserNote.objects.bulk_create(UserNote(user=user, author=author, **cleaned) for user in queryset)
        self.message_user(request, f"{counted(len(made), 'note', 'are added')}.", messages.SUCCESS)

    def has_add_note_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("accounts.add_usernote")

    @admin.action(description="Revoke all keys", permissions=["revoke_keys"])
    @requires_confirmation(
        "Revoke all API keys?", consequence="Requests with these keys fail at once. A revoked key cannot be restored."
    )
    def revoke_keys(self, request: HttpRequest, queryset: QuerySet[User]) -> None:
        users = self.modifiable(request, queryset, owner="").values("pk")
        revoked = keys.revoke_all(ApiKey.objects.filter(user__in=users), actor=staff_of(request))
        self.message_user(request, f"{counted(revoked, 'key', 'are revoked')}.", messages.SUCCESS)

    def has_revoke_keys_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("apikeys.revoke_apikey")

    def response_action(
        self, request: HttpRequest, queryset: QuerySet[User], *args: Any, **kwargs: Any
    ) -> HttpResponse | None:
        """Return to the user's page if the action was chosen there."""
        response = super().response_action(request, queryset, *args, **kwargs)
        selected = request.POST.getlist(ACTION_CHECKBOX_NAME)
        if isinstance(response, HttpResponseRedirect) and RETURN_TO_OBJECT in request.POST and selected:
            return HttpResponseRedirect(change_page_url(self.opts, selected))
        return response

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        user = context.get("original")
        if isinstance(user, User):
            hidden = _hidden_actions(user)
            actions = [(name, action[2]) for name, action in self.get_actions(request).items() if action]
            context |= {
                "user_actions": [(name, text) for name, text in actions if name not in hidden],
                "back": RETURN_TO_OBJECT,
                "facts": [*self._facts(user), *user_payments.facts(request, user)],
                "recent_tables": user_page.recent_tables(request, user),
                "payments": user_payments.render(request, user),
            }
        return super().render_change_form(request, context, *args, **kwargs)

    def _facts(self, user: User) -> list[tuple[str, Any]]:
        return [
            ("Tier", user.tier),
            ("State", self.state(user)),
            ("Last seen", self.last_seen(user)),
            ("Runs this month", f"{self.runs_this_month(user):,}"),
            ("Spent this month", self.spent_this_month(user)),
        ]


def _hidden_actions(user: User) -> set[str]:
    hidden = {"delete_selected"}
    if not disputes.ends_paid_tier(user):
        hidden.add("restore_tier")
    if user.email_verified_at:
        hidden.add("resend_verification")
    return hidden


def _aggregate(runs: QuerySet[Any, Any], aggregate: Any, empty: Value, field_class: Any) -> Coalesce:
    return Coalesce(Subquery(runs.annotate(value=aggregate).values("value"), output_field=field_class), empty)
