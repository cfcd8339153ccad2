"""Child processes that never outlive the supervisor."""

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

PR_SET_PDEATHSIG = 1  # prctl(2)
CLONE_NEWUSER = 0x10000000  # unshare(2)
UNPRIVILEGED_ID = 1000

_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class Program:
    """What to run, and how to tell that it is up.

    Args:
        ready: asked again and again until it says True.
        stop_signal: asks the program to end in good order.
        drop_root: run as an ordinary user where we are root; PostgreSQL refuses to serve as root.
    """

    name: str
    argv: list[str]
    log: Path
    ready: Callable[[], bool] = lambda: True
    env: dict[str, str] = field(default_factory=dict)
    stop_signal: int = signal.SIGTERM
    drop_root: bool = False


def spawn(program: Program, environment: dict[str, str]) -> subprocess.Popen[bytes]:
    """Start a program in a session of its own, so that the terminal's Ctrl-C reaches the supervisor alone."""
    with open(program.log, "ab") as log:
        return subprocess.Popen(
            program.argv,
            env={**environment, **program.env},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            preexec_fn=lambda: before_exec(program.stop_signal, drop_root=program.drop_root),
        )


def before_exec(death_signal: int, *, drop_root: bool = False) -> None:
    """In the child, before its program starts: leave root behind where asked, and die with the parent (Linux)."""
    if sys.platform != "linux":
        return
    if drop_root and os.geteuid() == 0:
        _leave_root()
    _libc.prctl(PR_SET_PDEATHSIG, death_signal)


def _leave_root() -> None:
    """Enter a user namespace in which root is an ordinary user (user_namespaces(7)).

    To the kernel the files are still root's own, so that no folder needs another owner or mode, wherever it lies.
    """
    if _libc.unshare(CLONE_NEWUSER) != 0:
        raise OSError(ctypes.get_errno(), "root may not make a user namespace here; run as an ordinary user")
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{UNPRIVILEGED_ID} 0 1")
    Path("/proc/self/gid_map").write_text(f"{UNPRIVILEGED_ID} 0 1")
