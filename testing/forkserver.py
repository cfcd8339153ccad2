"""Web processes and workers for tests, forked from a process with all imports."""

# They are what `python -m daphne` or `python -m celery` makes, but for the command line. Where a test is about that,
# `Stack` and `subprocess` start real ones.

import ctypes
import json
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from lunaos.embedded.process import before_exec

ROOT = Path(__file__).parent.parent
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36  # prctl(2)
IS_POSSIBLE = sys.platform == "linux"

_libc = ctypes.CDLL(None)


class Forked(subprocess.Popen[bytes]):
    """A process that is a child of this one though another process has forked it."""

    def __init__(self, pid: int, arguments: list[str]) -> None:
        self.pid, self.args = pid, arguments
        self.returncode: Any = None
        self.stdin = self.stdout = self.stderr = None
        self._child_created = True
        self._waitpid_lock = threading.Lock()


class ForkServer:
    """The process to fork from; it ends with this one."""

    def __init__(self, environment: dict[str, str]) -> None:
        self._channel, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "testing.forkmain", str(theirs.fileno())],
                cwd=ROOT,
                env=environment,
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
                preexec_fn=before_exec(),
            )
        self._answers = self._channel.makefile("r")

    def start(self, arguments: list[str], environment: dict[str, str], log: Path) -> subprocess.Popen[bytes]:
        """Start `python -m MODULE WORDS`, which writes to the end of a log."""
        request = {"arguments": arguments, "environment": environment, "log": str(log)}
        _libc.prctl(PR_SET_CHILD_SUBREAPER, 1)  # only meanwhile: other programs' orphans are not for us to wait for
        self._channel.sendall(json.dumps(request).encode() + b"\n")
        pid = self._answers.readline()
        _libc.prctl(PR_SET_CHILD_SUBREAPER, 0)
        if not pid:
            raise RuntimeError(f"The fork server ended with {self._process.wait()}.")
        return Forked(int(pid), arguments)

    def stop(self) -> None:
        self._answers.close()
        self._channel.close()
        self._process.wait(20)


def die_with_parent() -> None:
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


_server: ForkServer | None = None


def get(environment: dict[str, str]) -> ForkServer:
    global _server
    if _server is None:
        _server = ForkServer(environment)
    return _server


def stop() -> None:
    global _server
    if _server is not None:
        _server.stop()
        _server = None
