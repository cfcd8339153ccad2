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
def new(shelf: Path) -> Iterator[Path]:
    """A folder to fill, which gets its name when the block has ended well, and is gone when it has not.

    Args:
        shelf: made where it is missing, for this user alone.

    Raises:
        BackupError: the folder cannot be written, or somebody else makes a backup at this moment.
    """
    try:
        shelf.mkdir(mode=0o700, parents=True, exist_ok=True)
        with open(shelf / ".lock", "a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _clear(shelf)
            yield from _filled(shelf)
    except BlockingIOError as e:
        raise BackupError(f"another backup to {shelf} is under way") from e
    except OSError as e:
        raise BackupError(f"no backup was made: {e}") from e


def _clear(shelf: Path) -> None:
    """What a killed predecessor left."""
    for remains in shelf.glob(f"{UNFINISHED}*"):
        shutil.rmtree(remains)


def _filled(shelf: Path) -> Iterator[Path]:
    name = f"{PREFIX}{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}"
    unfinished = shelf / f"{UNFINISHED}{name}"
    unfinished.mkdir(mode=0o700)
    try:
        yield unfinished
        _sync(unfinished)
        unfinished.rename(shelf / name)
        _sync_one(shelf)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _sync(folder: Path) -> None:
    """On the disk before it has its name: a power cut must not leave a backup that is none."""
    for path in (*folder.rglob("*"), folder):
        _sync_one(path)


def _sync_one(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def complete(shelf: Path) -> list[Path]:
    """All backups, the oldest first."""
    return sorted(path for path in shelf.glob(f"{PREFIX}*") if (path / manifest.NAME).is_file())


def rotate(shelf: Path, keep: int) -> list[Path]:
    """Delete the oldest ones.

    Args:
        keep: so many stay, 1 at least.

    Returns:
        Those that are gone.
    """
    gone = complete(shelf)[:-keep]
    for backup in gone:
        shutil.rmtree(backup)
    return gone
