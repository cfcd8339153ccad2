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
    """A program to run, and how to tell that it is ready."""

    name: str
    argv: list[str]
    log: Path
    # Called repeatedly until it returns True.
    ready: Callable[[], bool] = lambda: True
    env: dict[str, str] = field(default_factory=dict)
    # Ends the program orderly; `death_signal` ends it if the supervisor is killed.
    stop_signal: int = signal.SIGTERM
    death_signal: int = signal.SIGKILL
    # Run as an ordinary user if the supervisor is root: PostgreSQL refuses to serve as root.
    drop_root: bool = False
    # Stop the program before the others, which it uses.
    stopped_first: bool = False


def spawn(program: Program, environment: dict[str, str]) -> subprocess.Popen[bytes]:
    with open(program.log, "ab") as log:
        return subprocess.Popen(
            program.argv,
            env={**environment, **program.env},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            # Ctrl-C in the terminal reaches the supervisor only, which stops the programs in order.
            start_new_session=True,
            preexec_fn=before_exec(program.death_signal, drop_root=program.drop_root),
        )


def before_exec(death_signal: int = signal.SIGKILL, *, drop_root: bool = False) -> Callable[[], None]:
    """Return a function for a child, before exec: drop root, die with the parent."""
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
    try:
        leave_root()
    except OSError as e:
        # To the program's log: an exception would not reach the parent.
        os.write(2, f"root cannot become an ordinary user here ({e}): start LunaOS as an ordinary user\n".encode())
        os._exit(EXIT_CANNOT_START)
