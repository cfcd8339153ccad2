import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from lunaos.backup import manifest
from lunaos.backup.errors import BackupError

PREFIX, UNFINISHED = "lunaos-", ".unfinished-"


@contextmanager
def create(directory: Path) -> Iterator[Path]:
    """Create a folder to fill, which gets its name at the end of the block."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        with open(directory / ".lock", "a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _delete_unfinished(directory)
            yield from _create_and_rename(directory)
    except BlockingIOError as e:
        raise BackupError(f"another backup to {directory} is running") from e
    except OSError as e:
        raise BackupError(f"no backup was made: {e}") from e


def _delete_unfinished(directory: Path) -> None:
    # Only killed backups have left such a folder: the lock admits one backup at a time.
    for unfinished in directory.glob(f"{UNFINISHED}*"):
        shutil.rmtree(unfinished)


def _create_and_rename(directory: Path) -> Iterator[Path]:
    name = f"{PREFIX}{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}"
    unfinished = directory / f"{UNFINISHED}{name}"
    unfinished.mkdir(mode=0o700)
    try:
        yield unfinished
        _fsync_tree(unfinished)
        unfinished.rename(directory / name)
        _fsync(directory)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _fsync_tree(folder: Path) -> None:
    # A power cut must not leave an incomplete backup with a name.
    for path in (*folder.rglob("*"), folder):
        _fsync(path)


def _fsync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def list_complete(directory: Path) -> list[Path]:
    return sorted(path for path in directory.glob(f"{PREFIX}*") if (path / manifest.NAME).is_file())


def rotate(directory: Path, keep: int) -> list[Path]:
    """Delete all but the newest `keep` backups, at least one; return the deleted ones."""
    deleted = list_complete(directory)[:-keep]
    for backup in deleted:
        shutil.rmtree(backup)
    return deleted
