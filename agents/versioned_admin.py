"""Admin pages of `Versioned` models: edit with a note, compare and restore versions."""

from functools import partial
from typing import Any, cast

from django import forms
from django.contrib import messages
from django.contrib.admin import ModelAdmin
from django.core.exceptions import PermissionDenied, ValidationError
from django.core.paginator import Paginator
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.functional import cached_property
from django.utils.html import format_html
from unfold.widgets import UnfoldAdminTextInputWidget

from accounts.auditlog import trail
from accounts.auditlog.trail import Action
from accounts.identity import staff_of
from accounts.staff.audited_admin import AuditedAdmin
from agents import versions
from agents.models import Version, Versioned
from agents.versions import VersionConflict

VERSIONS_PER_PAGE = 50


def normalize_line_ends(cleaned: dict[str, Any]) -> dict[str, Any]:
    """Replace CRLF of browsers by LF, so that unchanged lines compare as equal."""
    return {name: value.replace("\r\n", "\n") if isinstance(value, str) else value for name, value in cleaned.items()}


class NoteForm(forms.Form):
    """Note and expected version of a restore."""

    seen = forms.IntegerField(widget=forms.HiddenInput)
    note = forms.CharField(
        required=False,
        max_length=200,
        label="Note",
        help_text="The reason of the change; stored with the version.",
        widget=UnfoldAdminTextInputWidget,
    )


class VersionedForm(forms.ModelForm):
    """Form with optimistic locking: on a conflict it keeps the input and explains it."""

    seen = forms.IntegerField(widget=forms.HiddenInput, required=False)
    note = NoteForm.base_fields["note"]

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.fields["seen"].initial = self.instance.version

    @cached_property
    def changed_data(self) -> list[str]:
        """Return the changed fields of the row, without the note."""
        return [name for name in super().changed_data if name not in NoteForm.base_fields]

    def clean(self) -> dict[str, Any]:
        cleaned = normalize_line_ends(super().clean() or {})
        row = cast(Versioned, self.instance)
        try:
            versions.lock_current(row, expected_version=cleaned.get("seen"))  # locks the row until the transaction ends
        except VersionConflict as e:
            self.data = {**self.data, self.add_prefix("seen"): str(e.latest)}
            raise ValidationError(_conflict_message(row, e.latest), "changed_meanwhile") from e
        return cleaned


class VersionedAdmin(AuditedAdmin):
    """Base admin of `Versioned` models; subclasses list `note` in their fieldsets."""

    form = VersionedForm
    change_form_template = "admin/versions/change_form.html"

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        seen = form.cleaned_data["seen"] if change else None
        versions.save(obj, by=staff_of(request), note=form.cleaned_data["note"], expected_version=seen)

    def get_urls(self) -> list[URLPattern]:
        view, name = self.admin_site.admin_view, f"{self.opts.app_label}_{self.opts.model_name}"
        return [
            path("<int:pk>/versions/", view(self.version_list), name=f"{name}_versions"),
            path("<int:pk>/versions/<int:number>/", view(self.version), name=f"{name}_version"),
            path("<int:pk>/versions/<int:number>/back/", view(self.restore), name=f"{name}_back"),
            *super().get_urls(),
        ]

    def version_list(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Show all versions with author, time and changed fields, newest first."""
        row = self._row(request, pk)
        page = Paginator(row.versions.select_related("saved_by"), VERSIONS_PER_PAGE).get_page(request.GET.get("p"))
        shown: list[Version] = list(page)
        older = [*shown[1:], versions.previous_version(shown[-1]) if shown else None]
        entries = [
            {
                "version": each,
                "fields": self._labels(versions.changed_fields(old.content, each.content) if old else []),
            }
            for each, old in zip(shown, older, strict=True)
        ]
        return self._page(request, "list", row, f"Versions of {row}", entries=entries, page=page)

    def version(self, request: HttpRequest, pk: int, number: int) -> HttpResponse:
        """Show a version's changes, or with `?against=current` the changes since then."""
        row = self._row(request, pk)
        version = get_object_or_404(row.versions.select_related("saved_by"), number=number)
        to_current = request.GET.get("against") == "current"
        before = None if to_current else versions.previous_version(version)
        if to_current:
            changes = self._changes(version.content, versions.content_of(row))
        else:
            changes = self._changes(before.content, version.content) if before else []
        context_of_version = {"version": version, "before": before, "to_current": to_current, "changes": changes}
        return self._page(request, "version", row, f"Version {number} of {row}", **context_of_version)

    def restore(self, request: HttpRequest, pk: int, number: int) -> HttpResponse:
        """Show what a restore would change, and restore after confirmation."""
        row = self._row(request, pk, changing=True)
        version = get_object_or_404(row.versions, number=number)
        form = NoteForm(request.POST or None, initial={"seen": row.version})
        if form.is_valid() and self._try_restore(request, row, number, form):
            return redirect(f"admin:{self.opts.app_label}_{self.opts.model_name}_change", pk)
        row.refresh_from_db()
        changes = self._changes(versions.content_of(row), version.content)
        form = NoteForm(initial={"seen": row.version, "note": request.POST.get("note", "")})
        return self._page(
            request, "restore", row, f"Restore version {number}?", version=version, changes=changes, form=form
        )

    def _try_restore(self, request: HttpRequest, row: Any, number: int, form: NoteForm) -> bool:
        try:
            self._restore_and_record(request, row, number, form)
        except VersionConflict:
            messages.error(
                request, "Another version was saved in the meantime. The page shows the changes of a restore now."
            )
            return False
        except ValidationError as e:
            messages.error(request, f"Version {number} cannot be restored: {' '.join(e.messages)}")
            return False
        self.message_user(request, f"{row} has the content of version {number} again.", messages.SUCCESS)
        return True

    @transaction.atomic
    def _restore_and_record(self, request: HttpRequest, row: Any, number: int, form: NoteForm) -> None:
        staff = staff_of(request)
        note, seen = form.cleaned_data["note"], form.cleaned_data["seen"]
        if versions.restore(row, number, by=staff, note=note, expected_version=seen):
            of = f"{row._meta.label_lower} {row.pk}"
            trail.record_on_commit(Action.ADMIN_WENT_BACK, actor=staff, object=of, back_to=number, version=row.version)
            ModelAdmin.log_change(self, request, row, f"Back to version {number}.")

    def _row(self, request: HttpRequest, pk: int, *, changing: bool = False) -> Any:
        row = get_object_or_404(self.get_queryset(request), pk=pk)
        allowed = self.has_change_permission if changing else self.has_view_permission
        if not allowed(request, row):
            raise PermissionDenied
        return row

    def _page(self, request: HttpRequest, name: str, row: Any, title: str, **context: Any) -> HttpResponse:
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "original": row,
            "title": title,
            "may_change": self.has_change_permission(request, row),
            **context,
        }
        return TemplateResponse(request, f"admin/versions/{name}.html", context)

    def _changes(self, old: versions.Content, new: versions.Content) -> list[dict[str, Any]]:
        return [{"label": self._labels([each.field])[0], "lines": each.lines} for each in versions.diff(old, new)]

    def _labels(self, names: list[str]) -> list[str]:
        known = {field.name: str(getattr(field, "verbose_name", field.name)) for field in self.opts.get_fields()}
        return [known.get(name, name) for name in names]


def _conflict_message(row: Versioned, latest: int) -> Any:
    version = row.versions.select_related("saved_by").filter(number=latest).first()
    page = partial(reverse, f"admin:{row._meta.app_label}_{row._meta.model_name}_version", args=[row.pk, latest])
    return format_html(
        "{} saved version {} in the meantime. Your input is still in the form. "
        'Read <a href="{}" target="_blank" rel="noopener" class="underline">the changes</a>, '
        "merge them into your input, "
        "and save again.",
        version.saved_by if version and version.saved_by else "Another user",
        latest,
        page(),
    )
