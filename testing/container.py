"""Containers without an engine, by bubblewrap; the network is this machine's."""

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
    """Return the path of bubblewrap, if it is installed and may create namespaces."""
    program = shutil.which("bwrap")
    command = [program or "", "--ro-bind", "/", "/", "--unshare-user", "--unshare-pid", "--proc", "/proc", "true"]
    return program if program and subprocess.run(command, capture_output=True).returncode == 0 else None


@dataclass
class Container:
    # The folder that is /opt/lunaos in the image.
    image: Path
    folder: Path
    # Added to the image's environment.
    variables: Mapping[str, str] = field(default_factory=dict)
    # Mounted at their own paths, such as the folder of a server's socket.
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
        return subprocess.run(self._command(words), capture_output=True, text=True, timeout=120)

    def start(self, *words: str) -> "Running":
        """Start a program in the container as process number 1."""
        reader, writer = os.pipe()
        command = self._command(words, "--as-pid-1", "--info-fd", str(writer))
        with open(self.log, "ab") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, pass_fds=[writer])
        os.close(writer)
        with open(reader) as info:
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
    """The first process of a container; `number` is its number outside."""

    process: "subprocess.Popen[bytes]"
    number: int

    def stop(self, within_s: float = 30, with_signal: int = signal.SIGTERM) -> int:
        """Stop the process as an engine does: signal, wait, kill; return the exit code."""
        with suppress(ProcessLookupError):
            os.kill(self.number, with_signal)
        try:
            return self.process.wait(within_s)
        except subprocess.TimeoutExpired:
            os.kill(self.number, signal.SIGKILL)
            self.process.wait(10)
            raise

    def memory_mb(self) -> float:
        status = Path(f"/proc/{self.number}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0]) / 1024
