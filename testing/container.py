"""Containers without an engine: bubblewrap gives a process what an engine would, and nothing of this checkout.

Files that cannot be written, a user without powers whose number nobody has, process number 1, and an environment of its
own; only the network is this machine's.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

USER = "10001"
START = "/opt/lunaos/app/deploy/image/start"
HEALTH = ["/opt/lunaos/venv/bin/python", "-S", "/opt/lunaos/app/deploy/image/health.py"]
# As the Dockerfile sets them; deploy/tests/test_dockerfile.py compares.
IMAGE_ENVIRONMENT = {
    "PATH": "/opt/lunaos/venv/bin:/usr/local/bin:/usr/bin:/bin",
    "PYTHONUNBUFFERED": "1",
    "PYTHONDONTWRITEBYTECODE": "1",
    "LUNAOS_HOME": "/var/lib/lunaos",
    "LUNAOS_SIGN_OF_LIFE": "/tmp/lunaos-role",
}


def bubblewrap() -> str | None:
    """Where the program is, if it is installed and may do here what it is for."""
    program = shutil.which("bwrap")
    command = [program or "", "--ro-bind", "/", "/", "--unshare-user", "--unshare-pid", "--proc", "/proc", "true"]
    return program if program and subprocess.run(command, capture_output=True).returncode == 0 else None


@dataclass
class Container:
    """What containers of one name have in common.

    Args:
        image: the folder that is /opt/lunaos in the image.
        folder: of the container's own: its log, and what it may write.
        variables: of its environment, besides the image's.
        shared: folders that it sees where they are, such as that of a server's socket.
        hosts: names and their addresses.
    """

    image: Path
    folder: Path
    variables: Mapping[str, str] = field(default_factory=dict)
    shared: Sequence[Path] = ()
    hosts: Sequence[tuple[str, str]] = ()

    def __post_init__(self) -> None:
        for name in ("tmp", "home"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        lines = [f"{address} {name}" for address, name in (("127.0.0.1", "localhost"), *self.hosts)]
        (self.folder / "hosts").write_text("\n".join(lines) + "\n")

    @property
    def log(self) -> Path:
        return self.folder / "log"

    @property
    def home(self) -> Path:
        return self.folder / "home"

    def run(self, *words: str) -> "subprocess.CompletedProcess[str]":
        """Run a program in it to its end."""
        return subprocess.run(self._command(words), capture_output=True, text=True, timeout=120)

    def start(self, *words: str) -> "Running":
        """Start a program in it as process number 1."""
        heard, said = os.pipe()
        command = self._command(words, "--as-pid-1", "--info-fd", str(said))
        with open(self.log, "ab") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, pass_fds=[said])
        os.close(said)
        with open(heard) as info:
            return Running(process, json.load(info)["child-pid"])

    def _command(self, words: Sequence[str], *options: str) -> list[str]:
        program = bubblewrap()
        assert program, "bubblewrap is not installed, or may not make namespaces here"
        python = Path(sys.base_prefix)
        read = [Path("/usr"), Path("/etc/ld.so.cache"), Path("/etc/ssl"), *([] if python == Path("/usr") else [python])]
        mounts = [
            *(word for path in read for word in ("--ro-bind-try", str(path), str(path))),
            *(word for name in ("bin", "lib", "lib64", "sbin") for word in ("--symlink", f"usr/{name}", f"/{name}")),
            *("--proc", "/proc", "--dev", "/dev"),
            *("--bind", str(self.folder / "tmp"), "/tmp", "--bind", str(self.home), "/var/lib/lunaos"),
            *("--ro-bind", str(self.image), "/opt/lunaos", "--ro-bind", str(self.folder / "hosts"), "/etc/hosts"),
            *(word for path in self.shared for word in ("--bind", str(path), str(path))),
        ]
        environment = {**IMAGE_ENVIRONMENT, **self.variables}
        return [
            *(
                program,
                "--unshare-user",
                "--uid",
                USER,
                "--gid",
                USER,
                "--unshare-pid",
                "--unshare-ipc",
                "--unshare-uts",
            ),
            *("--cap-drop", "ALL", "--die-with-parent", "--new-session", "--clearenv", *options, *mounts),
            *(word for name, value in environment.items() for word in ("--setenv", name, value)),
            *("--remount-ro", "/", "--chdir", "/opt/lunaos/app", "--", *words),
        ]


@dataclass
class Running:
    """A container's first process, by its number outside."""

    process: "subprocess.Popen[bytes]"
    number: int

    def stop(self, within_s: float = 30, with_signal: int = signal.SIGTERM) -> int:
        """As an engine does: ask, wait, then end by force; the exit code."""
        with suppress(ProcessLookupError):
            os.kill(self.number, with_signal)
        try:
            return self.process.wait(within_s)
        except subprocess.TimeoutExpired:
            os.kill(self.number, signal.SIGKILL)
            self.process.wait(10)
            raise

    def memory_mb(self) -> float:
        """What is in memory of it now."""
        status = Path(f"/proc/{self.number}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0]) / 1024
