"""CSV export of an admin list: all rows that match its filters, not only the current page."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any, ClassVar
from uuid import UUID

from django.contrib import messages
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.views.main import SEARCH_VAR, ChangeList
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, StreamingHttpResponse
from django.urls import URLPattern, path, reverse
from django.views.decorators.http import require_POST
from unfold.admin import ModelAdmin

from accounts.auditlog import trail
from accounts.auditlog.trail import Action
from accounts.errors import ExportUnderWay
from accounts.identity import staff_of
from accounts.privacy import export as account_export
from accounts.staff import csv_export
from lunaos.infra import database

EXPORT_RUNNING = (
    "Nothing was exported: another list is being sent to you. Wait until it ends, or try again in a minute."
)
PERMISSION = "accounts.export_lists"


class CsvResponse(StreamingHttpResponse):
    """CSV file that is produced while the client reads."""

    # It holds the export slot until it is closed.

    def __init__(self, lines: AsyncIterator[str], name: str, slot: account_export.ExportSlot) -> None:
        self._slot = slot
        super().__init__(
            _renew_slot(lines, slot),
            content_type="text/csv; charset=utf-8; header=present",
            headers={"Content-Disposition": f'attachment; filename="{name}"'},
        )

    def close(self) -> None:
        """Release the slot, also if the client did not read all."""
        super().close()
        self._slot.release()


async def _renew_slot(lines: AsyncIterator[str], slot: account_export.ExportSlot) -> AsyncIterator[str]:
    async for line in lines:
        await database.call(slot.renew)
        yield line
    await database.call(slot.release)  # a client that asks again right after the end must not be refused


class ExportableAdmin(ModelAdmin):
    """Mixin for a page whose list has a button "Export as CSV", together with `AuditedAdmin`."""

    # The columns hold no secrets, prompts or answers. The order is newest first, so that new rows stay out.

    export_columns: ClassVar[tuple[str, ...]] = ()
    export_order: ClassVar[tuple[str, ...]] = ("-pk",)

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(require_POST(self.export))
        return [path("export/", view, name=self._export_page), *super().get_urls()]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        url = reverse(f"admin:{self._export_page}") if self.has_export_permission(request) else ""
        return super().changelist_view(request, {**(extra_context or {}), "export_url": url})

    def export(self, request: HttpRequest) -> HttpResponse | StreamingHttpResponse:
        """Return the file, after an audit row was written."""
        if not self.has_export_permission(request):
            raise PermissionDenied
        try:
            shown = self.get_changelist_instance(request)
        except IncorrectLookupParameters as e:
            self.message_user(request, f"Nothing was exported. {e}".strip(), messages.ERROR)
            return self._to_list()
        slot = account_export.ExportSlot(staff_of(request).pk, account_export.LIST_EXPORT)
        try:
            slot.acquire()
        except ExportUnderWay:
            self.message_user(request, EXPORT_RUNNING, messages.ERROR)
            return self._to_list()
        try:
            return self._file(request, shown, slot)
        except BaseException:
            slot.release()
            raise

    def _file(self, request: HttpRequest, shown: ChangeList, slot: account_export.ExportSlot) -> StreamingHttpResponse:
        rows = self.rows_to_export(shown.queryset)
        trail.record_on_commit(
            Action.ADMIN_EXPORTED,
            actor=staff_of(request),
            object=self.opts.label_lower,
            filter=describe_filters(shown),
            rows=rows.count(),
        )
        name = f"{self.opts.verbose_name_plural}-{datetime.now(UTC):%Y-%m-%d}.csv".replace(" ", "-").lower()
        return CsvResponse(csv_export.stream(rows, self.export_columns, self.export_order), name, slot)

    def _to_list(self) -> HttpResponseRedirect:
        return HttpResponseRedirect(reverse(f"admin:{self.opts.app_label}_{self.opts.model_name}_changelist"))

    def rows_to_export(self, rows: QuerySet[Any]) -> QuerySet[Any]:
        # A hook for subclasses.
        return rows

    def has_export_permission(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request) and request.user.has_perm(PERMISSION)

    @property
    def _export_page(self) -> str:
        return f"{self.opts.app_label}_{self.opts.model_name}_export"


def describe_filters(shown: ChangeList) -> dict[str, str]:
    """Return a list's filters for the audit trail, without personal data."""
    # Free text may be a name, so only ids are kept of it.
    known = {name for spec in shown.filter_specs for name in spec.expected_parameters() if name}
    known |= {f"{shown.date_hierarchy}__{part}" for part in ("year", "month", "day")}
    filters = {name: ",".join(values) for name, values in shown.get_filters_params().items()}
    filters |= {SEARCH_VAR: shown.query} if shown.query else {}
    return {name: value if name in known or _is_id(value) else "…" for name, value in filters.items()}


def _is_id(text: str) -> bool:
    try:
        return bool(UUID(text.strip()))
    except ValueError:
        return False
