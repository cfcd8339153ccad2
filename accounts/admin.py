"""Admin pages of users, groups and the audit trail."""

import json
from collections.abc import Callable
from typing import Any, ClassVar

from django.contrib import admin, messages
from django.contrib.auth.admin import GroupAdmin, UserAdmin
from django.contrib.auth.models import Group
from django.db.models import OuterRef, QuerySet, Subquery
from django.http import HttpRequest, HttpResponse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django_otp.plugins.otp_static.models import StaticDevice
from django_otp.plugins.otp_totp.models import TOTPDevice
from unfold.forms import AdminPasswordChangeForm
from unfold.paginator import InfinitePaginator

from accounts.auditlog import trail
from accounts.auditlog.trail import Action
from accounts.errors import LastSuperuser
from accounts.identity import may_modify, staff_of
from accounts.models import AuditEvent, User
from accounts.privacy import deletion
from accounts.signin import lockout, passwords, second_factor, sessions, verification
from accounts.staff import links, superusers, suspension
from accounts.staff.audited_admin import AuditedAdmin, ReadOnlyAdmin
from accounts.staff.confirm_action import requires_confirmation
from accounts.staff.exporting_admin import ExportableAdmin
from accounts.staff.forms import AccountCreationForm, AccountForm
from lunaos.infra import thread_pools
from lunaos.infra.plurals import counted

EVENT_PARTIES = ("actor", "subject")
PRIVILEGE_FIELDS = ("is_staff", "is_superuser", "groups", "user_permissions")


class AccountAdmin(ExportableAdmin, AuditedAdmin, UserAdmin):
    """Forms and actions of an account, the base of the registered `web.admin.users.UserAdmin`."""

    # The tier is read-only here, because `billing` is its only writer (`manage.py set_tier`).

    form = AccountForm
    add_form = AccountCreationForm
    change_password_form = AdminPasswordChangeForm
    ordering = ("-created_at",)
    readonly_fields: ClassVar[tuple[str, ...]] = ("tier", "email_verified_at", "created_at", "last_login")
    actions: tuple[str, ...] = (
        "unlock",
        "send_reset",
        "resend_verification",
        "end_sessions",
        "disable",
        "enable",
        "reset_second_factor",
    )
    fieldsets: ClassVar[tuple[Any, ...]] = (
        (None, {"fields": ("email", "email_verified_at", "name", "password", "tier")}),
        ("Permissions", {"fields": ("is_active", "is_staff", "is_superuser", "groups", "user_permissions")}),
        ("Dates", {"fields": ("created_at", "last_login")}),
    )
    add_fieldsets = ((None, {"classes": ("wide",), "fields": ("email", "password1", "password2")}),)

    # -- Actions -------------------------------------------------------------------------------------------------------

    @admin.action(description="Unlock sign-in", permissions=["unlock"])
    def unlock(self, request: HttpRequest, queryset: QuerySet[User]) -> None:
        def unlock(user: User) -> bool:
            lockout.unlock(user.email)
            trail.record_on_commit(Action.UNLOCKED, actor=staff_of(request), subject=user)
            return True

        self._apply_to_each(request, queryset, unlock, "can sign in again")

    @admin.action(description="Send a password reset", permissions=["send_reset"])
    def send_reset(self, request: HttpRequest, queryset: QuerySet[User]) -> None:
        actor = staff_of(request)
        self._apply_to_each(request, queryset, lambda user: passwords.send_reset(user, actor=actor), "are sent a mail")

    @admin.action(description="Resend the confirmation", permissions=["send_reset"])
    def resend_verification(self, request: HttpRequest, queryset: QuerySet[User]) -> None:
        def resend(user: User) -> bool:
            return verification.resend_for_staff(user, actor=staff_of(request))

        self._apply_to_each(request, queryset, resend, "are sent a mail")

    @admin.action(description="End all sessions", permissions=["end_sessions"])
    @requires_confirmation(
        "End all sessions?", consequence="The users have to sign in again everywhere. API keys stay valid."
    )
    def end_sessions(self, request: HttpRequest, queryset: QuerySet[User]) -> None:
        def end(user: User) -> bool:
            sessions.end_all(user, actor=staff_of(request))
            return True

        self._apply_to_each(request, queryset, end, "have to sign in again")

    @admin.action(description="Disable", permissions=["disable"])
    @requires_confirmation(
        "Disable these accounts?",
        consequence="Passwords, sessions and API keys are refused until the accounts are enabled.",
    )
    def disable(self, request: HttpRequest, queryset: QuerySet[User]) -> None:
        actor = staff_of(request)
        others = queryset.exclude(pk=actor.pk)
        self._apply_to_each(request, others, lambda user: suspension.disable(user, actor=actor), "are disabled")

    @admin.action(description="Enable", permissions=["disable"])
    def enable(self, request: HttpRequest, queryset: QuerySet[User]) -> None:
        actor = staff_of(request)
        self._apply_to_each(request, queryset, lambda user: suspension.enable(user, actor=actor), "are enabled")

    @admin.action(description="Reset second factor", permissions=["superuser"])
    @requires_confirmation(
        "Reset the second factor?", consequence="Until a new one is set, the password alone is enough to set it."
    )
    def reset_second_factor(self, request: HttpRequest, queryset: QuerySet[User]) -> None:
        for user in queryset:
            second_factor.remove(user, actor=staff_of(request))
        self.message_user(
            request, f"{queryset.count()} accounts set a new second factor at the next sign-in.", messages.SUCCESS
        )

    def _apply_to_each(
        self, request: HttpRequest, users: QuerySet[User], do: Callable[[User], bool], done: str
    ) -> None:
        count = sum(self._apply_unless_last(request, do, user) for user in self.modifiable(request, users, owner=""))
        self.message_user(
            request, f"{counted(count, 'account', done)}.", messages.SUCCESS if count else messages.WARNING
        )

    def _apply_unless_last(self, request: HttpRequest, do: Callable[[User], bool], user: User) -> bool:
        # Apply a function to an account, and show an error if the account is the last superuser's.
        try:
            return do(user)
        except LastSuperuser as e:
            self.message_user(request, f"{user.email}: {e}", messages.ERROR)
            return False

    def has_unlock_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("accounts.unlock_user")

    def has_send_reset_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("accounts.send_reset_to_user")

    def has_end_sessions_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("accounts.end_sessions_of_user")

    def has_disable_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("accounts.disable_user")

    # -- Permissions ---------------------------------------------------------------------------------------------------

    def get_fieldsets(self, request: HttpRequest, obj: User | None = None) -> Any:
        """Leave out what only superusers need: the password's hash, and the pickers of groups and permissions."""
        fieldsets = super().get_fieldsets(request, obj)
        if self.has_superuser_permission(request) or obj is None:
            return fieldsets
        left_out = {"password", "groups", "user_permissions"}
        return [
            (title, {**options, "fields": tuple(name for name in options["fields"] if name not in left_out)})
            for title, options in fieldsets
        ]

    def get_readonly_fields(self, request: HttpRequest, obj: User | None = None) -> tuple[str, ...]:
        # Only superusers change privileges, so that staff cannot raise their own.
        is_superuser = self.has_superuser_permission(request)
        return self.readonly_fields if is_superuser else (*self.readonly_fields, *PRIVILEGE_FIELDS)

    def has_change_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        return super().has_change_permission(request, obj) and may_modify(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        return super().has_delete_permission(request, obj) and may_modify(request, obj)

    @thread_pools.run_posts_in(thread_pools.HASHING)
    def add_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        return super().add_view(request, *args, **kwargs)

    @thread_pools.run_posts_in(thread_pools.HASHING)
    def user_change_password(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        return super().user_change_password(request, *args, **kwargs)

    @thread_pools.run_posts_in(thread_pools.STRIPE)  # a deletion cancels the subscription first
    def delete_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        return super().delete_view(request, *args, **kwargs)

    @thread_pools.run_posts_in(thread_pools.STRIPE)  # the action of the list deletes users too
    def changelist_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        return super().changelist_view(request, *args, **kwargs)

    def has_superuser_permission(self, request: HttpRequest) -> bool:
        return staff_of(request).is_superuser

    def save_model(self, request: HttpRequest, obj: User, form: Any, change: bool) -> None:
        """Save the user; a new address is unconfirmed, and ends all sessions."""
        email_changed = change and obj.email != form.initial["email"]
        if email_changed:
            obj.email_verified_at = None
        super().save_model(request, obj, form, change)
        if email_changed:
            sessions.end_all(obj, actor=staff_of(request))

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """Return the objects to delete: all of an account's data, also rows that staff may not delete alone."""
        staff = {f"{user} (staff)" for user in objs if not self.has_delete_permission(request, user)}
        last = [f"{user}: {LastSuperuser.message}" for user in objs if user.is_superuser]
        protected = last if not staff and superusers.includes_all_superusers([user.pk for user in objs]) else []
        return [str(user) for user in objs], {"users": len(objs)}, staff, protected

    def delete_model(self, request: HttpRequest, obj: User) -> None:
        self._delete(request, obj)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[User]) -> None:
        for user in self.modifiable(request, queryset, owner=""):
            self._delete(request, user)

    def _delete(self, request: HttpRequest, user: User) -> None:
        # Delete an account as its owner can: with texts, logs, and the subscription at Stripe.

        def delete(user: User) -> bool:
            deleted = deletion.delete_account(user)
            if not deleted:
                self.message_user(request, f"{user.email} is closed and will be deleted shortly.", messages.WARNING)
            return deleted

        self._apply_unless_last(request, delete, user)


admin.site.unregister((Group, TOTPDevice, StaticDevice))  # pages of devices would show their secrets


@admin.register(Group)
class AuditedGroupAdmin(AuditedAdmin, GroupAdmin):
    """Groups, which grant permissions to staff."""


class AuditActionFilter(admin.SimpleListFilter):
    """Filter by action, with choices from the code: a distinct query would read every row."""

    title = parameter_name = "action"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(str(action), str(action)) for action in Action]

    def queryset(self, request: HttpRequest, queryset: QuerySet[AuditEvent]) -> QuerySet[AuditEvent]:
        return queryset.filter(action=self.value()) if self.value() else queryset


@admin.register(AuditEvent)
class AuditEventAdmin(ExportableAdmin, ReadOnlyAdmin):
    """The audit trail, read-only; the database refuses changes."""

    list_display = ("id", "at", "action", "actor", "subject", "address", "details")
    list_filter = (AuditActionFilter,)
    date_hierarchy = "at"
    list_select_related = ("origin",)
    paginator = InfinitePaginator
    list_disable_select_all = True
    search_fields = ("request_id",)
    search_help_text = "A user's id or e-mail address, a request id, or a client's address"
    export_columns = (
        *("id", "at", "action", "actor_id", "subject_id", "request_id", "origin__address", "origin__user_agent"),
        *("details", "hash"),
    )
    fields = readonly_fields = (
        *("id", "at", "action", "actor", "subject", "request_link", "address", "user_agent", "formatted_details"),
        *("previous_hash", "hash"),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[AuditEvent]:
        people = {
            f"{role}_email": User.objects.filter(pk=OuterRef(f"{role}_id")).values("email") for role in EVENT_PARTIES
        }
        return super().get_queryset(request).annotate(**{name: Subquery(email) for name, email in people.items()})

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[AuditEvent], search_term: str
    ) -> tuple[QuerySet[AuditEvent], bool]:
        return queryset.filter(trail.search_filter(search_term.strip())) if search_term else queryset, False

    @admin.display
    def actor(self, event: AuditEvent) -> str:
        return getattr(event, "actor_email", None) or str(event.actor_id or "")

    @admin.display
    def subject(self, event: AuditEvent) -> str:
        return getattr(event, "subject_email", None) or str(event.subject_id or "")

    @admin.display(description="request id")
    def request_link(self, event: AuditEvent) -> SafeString | str:
        return links.to_request(event.request_id)

    @admin.display
    def address(self, event: AuditEvent) -> str:
        return trail.client_info_of(event).address

    @admin.display(description="details")
    def formatted_details(self, event: AuditEvent) -> SafeString:
        # Without unfold's colours: the Content-Security-Policy blocks their inline styles.
        return format_html('<pre class="luna-text">{}</pre>', json.dumps(event.details, indent=2, ensure_ascii=False))

    @admin.display
    def user_agent(self, event: AuditEvent) -> str:
        return trail.client_info_of(event).user_agent
