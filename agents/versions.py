"""Versions of `Versioned` rows: store, compare, restore."""

# Staff, the loader and restores all write through `save`. An unchanged row makes no version.

import difflib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

from django.db import transaction

from accounts.models import User
from agents.models import Version, Versioned

Row = TypeVar("Row", bound=Versioned)
Content = dict[str, Any]
CONTEXT_LINES = 3
MAX_EXACT_DIFF_LINES = 1000  # above, difflib ignores frequent lines, in which it is quadratic
GAP = "…"


class VersionConflict(Exception):
    """The row was saved by another request since it was read."""

    # Only staff meet this error.

    def __init__(self, latest: int) -> None:
        super().__init__(f"version {latest} was saved in the meantime")
        self.latest = latest


@dataclass(frozen=True, slots=True)
class DiffLine:
    """A line of a diff; the sign is `+`, `-`, a space, or GAP for omitted lines."""

    sign: str
    text: str


@dataclass(frozen=True, slots=True)
class FieldChange:
    """A changed field with its diff."""

    field: str
    lines: list[DiffLine]


def content_of(row: Versioned) -> Content:
    return {name: getattr(row, name) for name in row.VERSIONED_FIELDS}


@transaction.atomic
def save(row: Versioned, *, by: User | None, note: str = "", expected_version: int | None = None) -> bool:
    """Save a row and its version; return False for unchanged content. May raise VersionConflict."""
    stored = lock_current(row, expected_version=expected_version)
    changed = stored is None or stored.version == 0 or content_of(stored) != content_of(row)
    row.version = (stored.version if stored else 0) + changed
    row.save()
    if changed:
        row.versions.create(number=row.version, content=content_of(row), note=note, saved_by=by)
    return changed


def lock_current(row: Row, *, expected_version: int | None) -> Row | None:
    """Return the stored row, locked until the transaction ends, or raise VersionConflict."""
    stored = type(row)._base_manager.select_for_update().filter(pk=row.pk).first() if row.pk else None
    if stored and expected_version is not None and stored.version != expected_version:
        raise VersionConflict(stored.version)
    return stored


@transaction.atomic
def restore(row: Versioned, number: int, *, by: User, note: str = "", expected_version: int) -> bool:
    """Restore the content of a version as a new version; return whether the content changed.

    Raises VersionConflict, ObjectDoesNotExist, or ValidationError if the content breaks a rule of today.
    """
    # Fields that the version does not have keep their value.
    lock_current(row, expected_version=expected_version)
    version = row.versions.get(number=number)
    for name in row.VERSIONED_FIELDS:
        setattr(row, name, version.content.get(name, getattr(row, name)))
    row.full_clean()
    return save(row, by=by, note=f"Back to version {number}. {note}".strip(), expected_version=expected_version)


def previous_version(version: Version) -> Version | None:
    """Return the version before this one; None for the first."""
    return version.of.versions.filter(number__lt=version.number).first()


def diff(old: Content, new: Content) -> Iterator[FieldChange]:
    """Yield the changed fields in the newer state's order."""
    # New or removed fields are left out.
    for name, value in new.items():
        if name in old and old[name] != value:
            yield FieldChange(name, list(_diff_lines(_as_lines(old[name]), _as_lines(value))))


def changed_fields(old: Content, new: Content) -> list[str]:
    """Return the names of changed fields, without the cost of a diff."""
    return [name for name, value in new.items() if name in old and old[name] != value]


def _as_lines(value: Any) -> list[str]:
    if isinstance(value, bool):
        return ["yes" if value else "no"]
    return list(value) if isinstance(value, list) else str(value).splitlines() or [""]


def _diff_lines(old: list[str], new: list[str]) -> Iterator[DiffLine]:
    is_large = max(len(old), len(new)) > MAX_EXACT_DIFF_LINES
    groups = difflib.SequenceMatcher(None, old, new, autojunk=is_large).get_grouped_opcodes(CONTEXT_LINES)
    for index, group in enumerate(groups):
        if index:
            yield DiffLine(GAP, "")
        for tag, old_start, old_end, new_start, new_end in group:
            if tag == "equal":
                yield from (DiffLine(" ", text) for text in old[old_start:old_end])
            else:
                yield from (DiffLine("-", text) for text in old[old_start:old_end])
                yield from (DiffLine("+", text) for text in new[new_start:new_end])
