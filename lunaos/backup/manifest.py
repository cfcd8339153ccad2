"""The manifest of a backup: its files with their checksums, and the row counts of the database."""

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
        version: of the platform that created the backup.
        server: PostgreSQL's version.
        migrations: applied ones, as `app.name`.
        rows: row counts by table, at the moment of the dump.
        files: SHA-256 by path in the backup.
    """

    made_at: str
    version: str
    server: str
    migrations: list[str]
    rows: dict[str, int]
    files: dict[str, str]
    format: int = FORMAT

    def write(self, folder: Path) -> None:
        """Write the manifest to a backup whose other files are complete."""
        (folder / NAME).write_text(json.dumps(asdict(self), indent=1) + "\n")


def read(folder: Path) -> Manifest:
    """Read the manifest of a backup.

    Raises:
        BackupDamaged: the manifest is missing, unreadable or of another format.
    """
    try:
        found = Manifest(**json.loads((folder / NAME).read_text()))
    except (OSError, ValueError, TypeError) as e:
        raise BackupDamaged(f"{folder} is not a backup: its {NAME} cannot be read") from e
    if found.format != FORMAT:
        raise BackupDamaged(f"{folder} has format {found.format}; this release reads {FORMAT}")
    return found


def verify(folder: Path) -> Manifest:
    """Verify a backup's checksums and return its manifest.

    This finds damage, not forgery: an attacker can replace the manifest too.

    Raises:
        BackupDamaged: a file is missing, changed or unknown.
    """
    manifest = read(folder)
    found = compute_digests(folder)
    if strange := set(found) ^ set(manifest.files):
        raise BackupDamaged(f"{folder}: {', '.join(sorted(strange))} is missing or unknown")
    for path, digest in found.items():
        if digest != manifest.files[path]:
            raise BackupDamaged(f"{folder}: the checksum of {path} differs")
    return manifest


def compute_digests(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of all files of a backup except the manifest, by path."""
    found = {}
    for file in sorted(path for path in folder.rglob("*") if path.is_file() or path.is_symlink()):
        name = file.relative_to(folder).as_posix()
        if name != NAME:
            found[name] = "" if file.is_symlink() else _digest(file)
    return found


def _digest(file: Path) -> str:
    with open(file, "rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
