"""Admin pages of repositories and index jobs."""

# Deleting a repository needs the permission to delete its jobs too. A running job that is deleted stops.

import json

from django.contrib import admin, messages
from django.db.models import Count, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString

from accounts.staff.audited_admin import DeletableAdmin
from accounts.staff.exporting_admin import ExportableAdmin
from lunaos.errors import LunaError
from lunaos.infra import visible_text
from rag import services
from rag.models import File, IndexJob, Repository


@admin.register(Repository)
class RepositoryAdmin(ExportableAdmin, DeletableAdmin):
    list_display = ("name", "user", "model", "files", "chunks", "bytes", "updated_at")
    list_filter = ("model",)
    list_select_related = ("user",)
    date_hierarchy = "created_at"
    search_fields = ("name", "user__email")
    search_help_text = "Name of the repository, or email address of its owner."
    actions = ("reindex",)
    export_columns = (
        *("id", "name", "user_id", "user__email", "model", "file_count", "chunks", "bytes", "created_at", "updated_at"),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Repository]:
        """Add the number of files, which PostgreSQL counts for the rows of a page only."""
        counts = File.objects.filter(repository=OuterRef("pk")).order_by().values("repository")
        counted = Coalesce(Subquery(counts.annotate(count=Count("pk")).values("count")), 0)
        return super().get_queryset(request).annotate(file_count=counted)

    @admin.display(ordering="file_count")
    def files(self, repository: Repository) -> int:
        """Return the number of files."""
        return int(repository.__dict__["file_count"])

    @admin.action(description="Reindex with the configured embedding model", permissions=["view"])
    def reindex(self, request: HttpRequest, repositories: QuerySet[Repository]) -> None:
        """Start a reindex job for each selected repository of another model."""
        try:
            started = services.start_reindexing(list(repositories))
        except LunaError as e:
            messages.error(request, str(e))
            return
        total = len(repositories)
        messages.info(
            request, f"Started {len(started)} reindex jobs for {total} repositories; the others need none or have one."
        )


@admin.register(IndexJob)
class IndexJobAdmin(ExportableAdmin, DeletableAdmin):
    list_display = ("id", "repository", "kind", "status", "files_done", "files", "chunks", "error_code", "created_at")
    list_filter = ("status", "kind")
    list_select_related = ("repository",)
    search_fields = ("=id", "repository__name", "repository__user__email")
    search_help_text = "Id of the job, name of the repository, or email address of its owner."
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
        shown = [{**each, "path": visible_text.escape_invisible(each["path"])} for each in job.skipped]
        return format_html('<pre class="luna-text">{}</pre>', json.dumps(shown, indent=2, ensure_ascii=False))
