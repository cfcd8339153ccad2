"""What a backup says of itself: which files it consists of, and what was in the database."""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

from lunaos.backup.errors import BackupDamaged

NAME = "manifest.json"
FORMAT = 1


@dataclass(frozen=True)
class Manifest:
    """The content of `manifest.json`.

    Args:
        made_at: in UTC, as in 2026-11-26T01:30:00Z.
        version: of the platform that made it.
        server: PostgreSQL's version.
        migrations: that were applied, as `app.name`.
        rows: of every table, at the very moment of the dump.
        files: every file's SHA-256, by its path in the backup.
    """

    made_at: str
    version: str
    server: str
    migrations: list[str]
    rows: dict[str, int]
    files: dict[str, str]
    format: int = FORMAT

    def write(self, folder: Path) -> None:
        """Add it to a backup whose other files are all there."""
        (folder / NAME).write_text(json.dumps(asdict(self), indent=1) + "\n")


def read(folder: Path) -> Manifest:
    """The manifest of a backup.

    Raises:
        BackupDamaged: there is none, or it is of another form.
    """
    try:
        found = Manifest(**json.loads((folder / NAME).read_text()))
    except (OSError, ValueError, TypeError) as e:
        raise BackupDamaged(f"{folder} is no backup: its {NAME} cannot be read") from e
    if found.format != FORMAT:
        raise BackupDamaged(f"{folder} has format {found.format}, and this release reads {FORMAT}")
    return found


def verify(folder: Path) -> Manifest:
    """The manifest of a backup whose files are all as they were written.

    This finds damage, not forgery: who can exchange a file can exchange the manifest as well.

    Raises:
        BackupDamaged: a file is missing, was changed, or is one too many.
    """
    manifest = read(folder)
    found = compute_digests(folder)
    if strange := set(found) ^ set(manifest.files):
        raise BackupDamaged(f"{folder}: {', '.join(sorted(strange))} is missing, or does not belong to it")
    for path, digest in found.items():
        if digest != manifest.files[path]:
            raise BackupDamaged(f"{folder}: {path} is not what was written; its checksum differs")
    return manifest


def compute_digests(folder: Path) -> dict[str, str]:
    """The SHA-256 of every file of a backup but the manifest itself, by its path."""
    found = {}
    for file in sorted(path for path in folder.rglob("*") if path.is_file() or path.is_symlink()):
        name = file.relative_to(folder).as_posix()
        if name != NAME:
            found[name] = "" if file.is_symlink() else _digest(file)
    return found


def _digest(file: Path) -> str:
    with open(file, "rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
