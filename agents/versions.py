"""Each change of an agent, or of whatever else is `Versioned`, is a version: kept, compared, and gone back to.

All writing passes `save`, whoever writes: staff in the admin, the loader at a deployment, a way back. What is not
changed makes no version.
"""

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
MAX_EXACT_DIFF_LINES = (
    1000  # above, lines that come again and again are left out of the search, which is quadratic in them
)
GAP = "…"


class VersionConflict(Exception):
    """Somebody else has saved it since it was read; for staff, no client of the API meets it.

    Args:
        latest: number of the version that is there now.
    """

    def __init__(self, latest: int) -> None:
        super().__init__(f"version {latest} was saved meanwhile")
        self.latest = latest


@dataclass(frozen=True, slots=True)
class DiffLine:
    """A line of a comparison.

    Args:
        sign: `+` where it came, `-` where it went, a space where it stayed, GAP where lines are left out.
    """

    sign: str
    text: str


@dataclass(frozen=True, slots=True)
class FieldChange:
    """A field that differs, by its name, with the lines around what does."""

    field: str
    lines: list[DiffLine]


def content_of(row: Versioned) -> Content:
    """What makes a state of a row."""
    return {name: getattr(row, name) for name in row.VERSIONED_FIELDS}


@transaction.atomic
def save(row: Versioned, *, by: User | None, note: str = "", expected_version: int | None = None) -> bool:
    """Save a row, new or not, and keep what it is now as a version, both or neither.

    Args:
        by: who changed it; None where the platform did.
        note: why.
        seen: the version that was changed; None for whichever is the newest.

    Returns:
        Whether there is a new version: there is none where nothing of its content has changed.

    Raises:
        ChangedMeanwhile: somebody else has saved another version since `seen`.
    """
    stored = lock_current(row, expected_version=expected_version)
    changed = stored is None or stored.version == 0 or content_of(stored) != content_of(row)
    row.version = (stored.version if stored else 0) + changed
    row.save()
    if changed:
        row.versions.create(number=row.version, content=content_of(row), note=note, saved_by=by)
    return changed


def lock_current(row: Row, *, expected_version: int | None) -> Row | None:
    """The row as it is stored, locked until the transaction ends; None for one that is not stored yet.

    Raises:
        ChangedMeanwhile: it has another version than `seen`.
    """
    stored = type(row)._base_manager.select_for_update().filter(pk=row.pk).first() if row.pk else None
    if stored and expected_version is not None and stored.version != expected_version:
        raise VersionConflict(stored.version)
    return stored


@transaction.atomic
def restore(row: Versioned, number: int, *, by: User, note: str = "", expected_version: int) -> bool:
    """Make a row what it was as of a version, which is a new version; fields that it had not yet stay as they are.

    Args:
        note, seen: as of `save`.

    Returns:
        Whether that changed anything.

    Raises:
        ChangedMeanwhile: as of `save`.
        ValidationError: it breaks a rule by now.
        ObjectDoesNotExist: there is no such version.
    """
    lock_current(row, expected_version=expected_version)
    version = row.versions.get(number=number)
    for name in row.VERSIONED_FIELDS:
        setattr(row, name, version.content.get(name, getattr(row, name)))
    row.full_clean()
    return save(row, by=by, note=f"Back to version {number}. {note}".strip(), expected_version=expected_version)


def previous_version(version: Version) -> Version | None:
    """The version before one; None before the first."""
    return version.of.versions.filter(number__lt=version.number).first()


def diff(old: Content, new: Content) -> Iterator[FieldChange]:
    """The fields in which two states differ, in the newer one's order; one that either has not is left out."""
    for name, value in new.items():
        if name in old and old[name] != value:
            yield FieldChange(name, list(_diff_lines(_as_lines(old[name]), _as_lines(value))))


def changed_fields(old: Content, new: Content) -> list[str]:
    """The names of these fields only, which is quicker."""
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
