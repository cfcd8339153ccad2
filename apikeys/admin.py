"""Admin page of API keys, which staff can find and revoke, but neither create nor see."""

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest

from accounts.identity import staff_of
from accounts.staff.audited_admin import ReadOnlyAdmin
from accounts.staff.confirm_action import requires_confirmation
from accounts.staff.exporting_admin import ExportableAdmin
from apikeys import services
from apikeys.models import ApiKey
from lunaos.infra.plurals import counted


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
    list_display = ("prefix", "name", "user", "scopes", "created_at", "last_used_at", "expires_at", "revoked_at")
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
    readonly_fields = ("networks",)

    @admin.display(description="used from")
    def networks(self, key: ApiKey) -> str:
        return ", ".join(key.addresses.order_by("first_used_at").values_list("network", flat=True))

    @admin.action(description="Revoke selected keys", permissions=["revoke"])
    @requires_confirmation(
        "Revoke these API keys?", consequence="Programs that use them are refused at once, for good."
    )
    def revoke(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> None:
        revoked = services.revoke_all(self.modifiable(request, queryset), actor=staff_of(request))
        self.message_user(request, f"{counted(revoked, 'key', 'are revoked')}.", messages.SUCCESS)

    def has_revoke_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("apikeys.revoke_apikey")
