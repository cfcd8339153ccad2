"""Child processes that never outlive the supervisor."""

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
EXIT_CANNOT_START = 126  # as a shell says it

_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class Program:
    """What to run, and how to tell that it is up.

    Args:
        ready: asked again and again until it says True.
        stop_signal: asks the program to end in good order.
        death_signal: ends the program when the supervisor was killed; nobody is left then to end it by force.
        drop_root: run as an ordinary user where we are root; PostgreSQL refuses to serve as root.
        stopped_first: it uses the other programs, so they outlive it.
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
    """Start a program in a session of its own, so that the terminal's Ctrl-C reaches the supervisor alone."""
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
    """What a child does before its program starts: leave root behind where asked, and die with the parent (Linux)."""
    parent = os.getpid()

    def prepare() -> None:
        if drop_root and os.geteuid() == 0 and sys.platform == "linux":
            _leave_root()
        if sys.platform == "linux":  # after leaving root, since that clears the signal
            _libc.prctl(PR_SET_PDEATHSIG, death_signal)
        if os.getppid() != parent:  # it died before the signal was set
            os._exit(EXIT_CANNOT_START)

    return prepare


def _leave_root() -> None:
    """An exception would lose its text on the way to the parent, so the reason goes to the program's log."""
    try:
        leave_root()
    except OSError as e:
        os.write(2, f"root cannot become an ordinary user here ({e}): start LunaOS as one\n".encode())
        os._exit(EXIT_CANNOT_START)
