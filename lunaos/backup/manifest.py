"""The manifest of a backup: checksums of its files, row counts of the database."""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

from lunaos.backup.errors import BackupDamaged

NAME = "manifest.json"
FORMAT = 1


@dataclass(frozen=True)
class Manifest:
    """The content of `manifest.json`."""

    made_at: str
    version: str
    server: str
    # Applied ones, as `app.name`.
    migrations: list[str]
    # By table, at the moment of the dump.
    rows: dict[str, int]
    # SHA-256 by path in the backup.
    files: dict[str, str]
    format: int = FORMAT

    def write(self, folder: Path) -> None:
        """Write the manifest to a backup whose other files are complete."""
        (folder / NAME).write_text(json.dumps(asdict(self), indent=1) + "\n")


def read(folder: Path) -> Manifest:
    try:
        found = Manifest(**json.loads((folder / NAME).read_text()))
    except (OSError, ValueError, TypeError) as e:
        raise BackupDamaged(f"{folder} is not a backup: its {NAME} cannot be read") from e
    if found.format != FORMAT:
        raise BackupDamaged(f"{folder} has format {found.format}; this release reads {FORMAT}")
    return found


def verify(folder: Path) -> Manifest:
    """Verify a backup's checksums and return its manifest, or raise BackupDamaged."""
    manifest = read(folder)
    # This finds damage, not forgery: an attacker can replace the manifest too.
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
            # A link is never part of a backup: its empty digest does not match.
            found[name] = "" if file.is_symlink() else _digest(file)
    return found


def _digest(file: Path) -> str:
    with open(file, "rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
