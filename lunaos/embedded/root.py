import ctypes
import os
from pathlib import Path

CLONE_NEWUSER = 0x10000000  # unshare(2)
UNPRIVILEGED_ID = 1000

_libc = ctypes.CDLL(None, use_errno=True)


def leave_root() -> None:
    """Enter a user namespace in which root is an ordinary user (user_namespaces(7))."""
    if _libc.unshare(CLONE_NEWUSER) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    # To the kernel the files still belong to root, so that no folder needs another owner or mode.
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{UNPRIVILEGED_ID} 0 1")
    Path("/proc/self/gid_map").write_text(f"{UNPRIVILEGED_ID} 0 1")
