"""The folder that backups are kept in: how one gets there, and which ones go."""

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
    """A folder to fill, which gets its name when the block has ended well, and is gone when it has not.

    Args:
        directory: made where it is missing, for this user alone.

    Raises:
        BackupError: the folder cannot be written, or somebody else makes a backup at this moment.
    """
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        with open(directory / ".lock", "a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _delete_unfinished(directory)
            yield from _create_and_rename(directory)
    except BlockingIOError as e:
        raise BackupError(f"another backup to {directory} is under way") from e
    except OSError as e:
        raise BackupError(f"no backup was made: {e}") from e


def _delete_unfinished(directory: Path) -> None:
    """What a killed predecessor left."""
    for remains in directory.glob(f"{UNFINISHED}*"):
        shutil.rmtree(remains)


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
    """On the disk before it has its name: a power cut must not leave a backup that is none."""
    for path in (*folder.rglob("*"), folder):
        _fsync(path)


def _fsync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def list_complete(directory: Path) -> list[Path]:
    """All backups, the oldest first."""
    return sorted(path for path in directory.glob(f"{PREFIX}*") if (path / manifest.NAME).is_file())


def rotate(directory: Path, keep: int) -> list[Path]:
    """Delete the oldest ones.

    Args:
        keep: so many stay, 1 at least.

    Returns:
        Those that are gone.
    """
    gone = list_complete(directory)[:-keep]
    for backup in gone:
        shutil.rmtree(backup)
    return gone
