import os
import shutil
from pathlib import Path

MAX_LOG_BYTES = 10 * 2**20
MAX_OLDER_LOGS = 3


def rotate(log: Path) -> bool:
    """Move a log above MAX_LOG_BYTES to `NAME.1`; return whether it was too large."""
    if not log.exists() or log.stat().st_size <= MAX_LOG_BYTES:
        return False
    for number in range(MAX_OLDER_LOGS - 1, 0, -1):
        older = log.with_name(f"{log.name}.{number}")
        if older.exists():
            older.replace(log.with_name(f"{log.name}.{number + 1}"))
    # The writer has the file open for appending and continues at the new end. Lines written between copy and truncation
    # are lost.
    shutil.copyfile(log, log.with_name(f"{log.name}.1"))
    os.truncate(log, 0)
    return True
