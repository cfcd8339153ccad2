"""Logs of the embedded processes, kept small: by size, and a few older ones of each."""

import os
import shutil
from pathlib import Path

MAX_LOG_BYTES = 10 * 2**20
MAX_OLDER_LOGS = 3


def rotate(log: Path) -> bool:
    """Where the log is too large, move what it holds to `NAME.1`, that to `NAME.2`, and forget what is older.

    The writer keeps its file, which it opened for appending, and goes on at the file's new end. Lines that are written
    within the instant between copy and cut are lost.

    Returns:
        Whether the log was too large.
    """
    if not log.exists() or log.stat().st_size <= MAX_LOG_BYTES:
        return False
    for number in range(MAX_OLDER_LOGS - 1, 0, -1):
        older = log.with_name(f"{log.name}.{number}")
        if older.exists():
            older.replace(log.with_name(f"{log.name}.{number + 1}"))
    shutil.copyfile(log, log.with_name(f"{log.name}.1"))
    os.truncate(log, 0)
    return True
