"""Child processes that end with the supervisor."""

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from lunaos.embedded.root import leave_root

PR_SET_PDEATHSIG = 1  # prctl(2)
EXIT_CANNOT_START = 126  # as in shells

_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class Program:
    """A program to run, and a check that it is ready.

    Args:
        ready: called repeatedly until it returns True.
        stop_signal: ends the program orderly.
        death_signal: ends the program if the supervisor is killed.
        drop_root: run as an ordinary user if the supervisor is root; PostgreSQL refuses to serve as root.
        stopped_first: stop the program before the others, which it uses.
    """

    name: str
    argv: list[str]
    log: Path
    ready: Callable[[], bool] = lambda: True
    env: dict[str, str] = field(default_factory=dict)
    stop_signal: int = signal.SIGTERM
    death_signal: int = signal.SIGKILL
    drop_root: bool = False
    stopped_first: bool = False


def spawn(program: Program, environment: dict[str, str]) -> subprocess.Popen[bytes]:
    """Start a program in a session of its own, so that Ctrl-C in the terminal reaches the supervisor only."""
    with open(program.log, "ab") as log:
        return subprocess.Popen(
            program.argv,
            env={**environment, **program.env},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            preexec_fn=before_exec(program.death_signal, drop_root=program.drop_root),
        )


def before_exec(death_signal: int = signal.SIGKILL, *, drop_root: bool = False) -> Callable[[], None]:
    """Return what a child runs before exec: drop root if asked, and die with the parent (Linux)."""
    parent = os.getpid()

    def prepare() -> None:
        if drop_root and os.geteuid() == 0 and sys.platform == "linux":
            _leave_root()
        if sys.platform == "linux":  # after leaving root, since that clears the signal
            _libc.prctl(PR_SET_PDEATHSIG, death_signal)
        if os.getppid() != parent:  # the parent died before the signal was set
            os._exit(EXIT_CANNOT_START)

    return prepare


def _leave_root() -> None:
    """Drop root; write a failure to the program's log, since an exception would not reach the parent."""
    try:
        leave_root()
    except OSError as e:
        os.write(2, f"root cannot become an ordinary user here ({e}): start LunaOS as an ordinary user\n".encode())
        os._exit(EXIT_CANNOT_START)
