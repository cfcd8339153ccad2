"""Admin page of API keys, which staff can find and revoke, but neither create nor see."""

# `web.admin.api_keys` adds what a key's page shows of runs and refusals.

from typing import Any
from uuid import UUID

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import URLPattern, path, reverse
from django.views.decorators.http import require_POST
from unfold.decorators import display

from accounts.identity import may_modify, staff_of
from accounts.staff.audited_admin import ReadOnlyAdmin
from accounts.staff.confirm_action import RETURN_TO_OBJECT, requires_confirmation
from accounts.staff.exporting_admin import ExportableAdmin
from apikeys import services
from apikeys.models import ApiKey
from lunaos.infra.plurals import counted

STATES = {"active": "success", "revoked": "danger", "expired": "warning"}


class KeyStateFilter(admin.SimpleListFilter):
    title = parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: object) -> list[tuple[str, str]]:
        return [("active", "active"), ("ended", "revoked or expired")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> QuerySet[ApiKey]:
        active = ApiKey.objects.active().values("pk")
        chosen = {"active": queryset.filter(pk__in=active), "ended": queryset.exclude(pk__in=active)}
        return chosen.get(self.value() or "", queryset)


@admin.register(ApiKey)
class ApiKeyAdmin(ExportableAdmin, ReadOnlyAdmin):
    list_display = ("prefix", "state", "user", "name", "scopes", "last_used_at", "created_at")
    list_select_related = ("user",)
    list_filter = (KeyStateFilter,)
    date_hierarchy = "created_at"
    search_fields = ("prefix", "user__email")
    search_help_text = "A key's beginning or its owner's e-mail address."
    actions = ("revoke",)
    exclude = ("digest",)
    export_order = ("-created_at", "-pk")
    export_columns = (
        *("id", "prefix", "name", "user_id", "user__email", "scopes"),
        *("created_at", "last_used_at", "expires_at", "revoked_at"),
    )

    @display(label=STATES)
    def state(self, key: ApiKey) -> str:
        return key.state

    @admin.action(description="Revoke selected keys", permissions=["revoke"])
    @requires_confirmation(
        "Revoke these API keys?", consequence="Programs that use them are refused at once, for good."
    )
    def revoke(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> None:
        revoked = services.revoke_all(self.modifiable(request, queryset), actor=staff_of(request))
        self.message_user(request, f"{counted(revoked, 'key', 'are revoked')}.", messages.SUCCESS)

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(require_POST(self.revoke_one))
        return [path("<uuid:key_id>/revoke/", view, name="apikeys_apikey_revoke"), *super().get_urls()]

    def revoke_one(self, request: HttpRequest, key_id: UUID) -> HttpResponse:
        """Revoke one key from its page, with the list's confirmation."""
        if not self.has_revoke_permission(request):
            raise PermissionDenied
        key = get_object_or_404(ApiKey, pk=key_id)
        confirmation = self.revoke(request, ApiKey.objects.filter(pk=key.pk))
        return confirmation or HttpResponseRedirect(reverse("admin:apikeys_apikey_change", args=[key.pk]))

    def has_revoke_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("apikeys.revoke_apikey")

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        key = context.get("original")
        revocable = isinstance(key, ApiKey) and key.active and may_modify(request, key.user)
        context |= {"may_revoke": revocable and self.has_revoke_permission(request), "back": RETURN_TO_OBJECT}
        return super().render_change_form(request, context, *args, **kwargs)
