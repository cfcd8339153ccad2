"""Repositories and index jobs, for staff: to read and to delete; a repository can be sent to be indexed anew.

Who deletes a repository needs the permission to delete its jobs as well; a job that is deleted alone is broken off.
"""

import json

from django.contrib import admin, messages
from django.db.models import Count, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString

from accounts.staff.audited_admin import DeletableAdmin
from accounts.staff.exporting_admin import ExportedAdmin
from lunaos.errors import LunaError
from rag import services
from rag.models import File, IndexJob, Repository


@admin.register(Repository)
class RepositoryAdmin(ExportedAdmin, DeletableAdmin):
    list_display = ("name", "user", "model", "files", "chunks", "bytes", "updated_at")
    list_filter = ("model",)
    list_select_related = ("user",)
    date_hierarchy = "created_at"
    search_fields = ("name", "user__email")
    search_help_text = "A repository's name, or its owner's e-mail address."
    actions = ("reindex",)
    export_columns = (
        *("id", "name", "user_id", "user__email", "model", "file_count", "chunks", "bytes", "created_at", "updated_at"),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Repository]:
        """With the files of each, counted for the rows of one page only."""
        mine = File.objects.filter(repository=OuterRef("pk")).order_by().values("repository")
        counted = Coalesce(Subquery(mine.annotate(count=Count("pk")).values("count")), 0)
        return super().get_queryset(request).annotate(file_count=counted)

    @admin.display(ordering="file_count")
    def files(self, repository: Repository) -> int:
        return int(repository.__dict__["file_count"])

    @admin.action(description="Move to today's embedding model, in the background", permissions=["view"])
    def reindex(self, request: HttpRequest, repositories: QuerySet[Repository]) -> None:
        try:
            started = services.start_reindexing(list(repositories))
        except LunaError as e:
            messages.error(request, str(e))
            return
        messages.info(
            request, f"{len(started)} of {len(repositories)} are on their way; the others were there already."
        )


@admin.register(IndexJob)
class IndexJobAdmin(ExportedAdmin, DeletableAdmin):
    list_display = ("id", "repository", "kind", "status", "files_done", "files", "chunks", "error_code", "created_at")
    list_filter = ("status", "kind")
    list_select_related = ("repository",)
    search_fields = ("=id", "repository__name", "repository__user__email")
    search_help_text = "A job's id, a repository's name, or its owner's e-mail address."
    date_hierarchy = "created_at"
    export_order = ("-created_at", "-pk")
    export_columns = (
        *("id", "repository__name", "repository__user__email", "kind", "status", "files_done", "files", "chunks"),
        *("error_code", "created_at", "finished_at"),
    )
    fields = readonly_fields = (
        *("repository", "kind", "model", "status", "error_code", "error", "attempts", "revision", "files"),
        *("files_done", "unchanged", "chunks", "left_out", "skipped_files", "created_at", "started_at", "finished_at"),
    )

    @admin.display(description="skipped: path and reason")
    def left_out(self, job: IndexJob) -> SafeString | str:
        """Show the skipped files without unfold's colours, whose inline styles the Content-Security-Policy refuses."""
        if not job.skipped:
            return "none"
        return format_html('<pre class="luna-text">{}</pre>', json.dumps(job.skipped, indent=2, ensure_ascii=False))
