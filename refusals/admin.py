"""Admin pages of refused requests, which staff find by person, key and request."""

from typing import Any

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString
from unfold.paginator import InfinitePaginator

from accounts.models import User
from accounts.staff import links
from accounts.staff.audited_admin import ReadOnlyAdmin
from accounts.staff.exporting_admin import ExportableAdmin
from refusals import codes
from refusals.models import Refusal

FOR_A_TOKEN = "a token"  # noqa: S105 - words for the page


class CodeFilter(admin.SimpleListFilter):
    """Filter by error code, with choices from the code: a distinct query would read every row."""

    title = parameter_name = "code"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(code, code) for code in codes.list_codes()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Refusal]) -> QuerySet[Refusal]:
        return queryset.filter(code=self.value()) if self.value() else queryset


@admin.register(Refusal)
class RefusalAdmin(ExportableAdmin, ReadOnlyAdmin):
    """Refused requests of the last 30 days."""

    list_display = ("code", "message", "count", "owner", "key", "minute")
    list_filter = (CodeFilter,)
    date_hierarchy = "minute"
    list_select_related = ("user",)
    paginator = InfinitePaginator
    list_per_page = 50
    list_disable_select_all = True
    search_fields = ("user__email",)  # see `get_search_results`
    search_help_text = "An e-mail address, a key's beginning, or a request id."
    export_order = ("-minute", "-pk")
    export_columns = (
        *("id", "minute", "user_id", "user__email", "key_id", "key_prefix", "code", "count"),
        *("first_request_id", "last_request_id", "message"),
    )
    fields = readonly_fields = (
        *("code", "message", "count", "minute", "owner", "key", "first_request", "last_request"),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Refusal]:
        return super().get_queryset(request).filter(minute__gt=Refusal.objects.oldest_kept())

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Refusal], search_term: str
    ) -> tuple[QuerySet[Refusal], bool]:
        term = search_term.strip()
        return queryset.filter(search_filter(term)) if term else queryset, False

    @admin.display(description="user", ordering="user__email")
    def owner(self, refusal: Refusal) -> SafeString:
        return links.to_object("accounts_user", refusal.user_id, refusal.user.email)

    @admin.display(description="API key", ordering="key_prefix")
    def key(self, refusal: Refusal) -> SafeString | str:
        if refusal.key_id is None:
            return FOR_A_TOKEN
        return links.to_object("apikeys_apikey", refusal.key_id, f"{refusal.key_prefix}…")

    @admin.display(description="first request")
    def first_request(self, refusal: Refusal) -> SafeString | str:
        return links.to_request(refusal.first_request_id)

    @admin.display(description="last request")
    def last_request(self, refusal: Refusal) -> SafeString | str:
        return links.to_request(refusal.last_request_id)


def search_filter(term: str) -> Q:
    """Return a filter for refusals by an e-mail address, a key's beginning, or a request id."""
    if "@" in term:
        return Q(user__in=User.objects.filter(email=term.lower()))
    return Q(first_request_id=term) | Q(last_request_id=term) | Q(key_prefix=term)
