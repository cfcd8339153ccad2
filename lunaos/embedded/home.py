"""LUNAOS_HOME: the one folder that holds all embedded state."""

import fcntl
import hashlib
import json
import os
import re
import secrets
import stat
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO

SOCKET_PATH_BYTES = 107  # sun_path of a Unix socket (unix(7)), without the closing NUL
LONGEST_SOCKET_NAME = "/.s.PGSQL.5432.lock"
ENVIRONMENT = "environment.json"


class HomeInUse(Exception):
    """Another supervisor runs on this folder."""


class Home:
    """Paths below LUNAOS_HOME, made on first use."""

    def __init__(self, path: Path) -> None:
        self.path = path.resolve()
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.logs = self.path / "logs"
        self.logs.mkdir(exist_ok=True)
        self._lock: IO[str] | None = None

    def lock(self) -> None:
        """Keep others out until this process ends.

        Raises:
            HomeInUse: somebody else holds the folder.
        """
        self._lock = open(self.path / "lock", "a")  # noqa: SIM115 - held as long as the process lives
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as e:
            raise HomeInUse(f"another LunaOS runs in {self.path}; set LUNAOS_HOME to start a second one") from e

    def secret(self, name: str) -> str:
        """A random value, made once and kept readable by the owner only."""
        file = self.path / name
        if not file.exists():
            self._write(name, secrets.token_urlsafe(48))
        return file.read_text()

    def save_environment(self, variables: Mapping[str, str]) -> None:
        """Leave what the platform's processes were started with to commands that come later."""
        self._write(ENVIRONMENT, json.dumps(dict(variables)))

    def load_environment(self) -> dict[str, str]:
        """The variables of the last start; none where the file is damaged."""
        try:
            found: dict[str, str] = json.loads((self.path / ENVIRONMENT).read_text())
        except (FileNotFoundError, ValueError):
            return {}
        return found

    def _write(self, name: str, text: str) -> None:
        """For the owner only, and renamed when complete: a kill in between leaves no half file."""
        new = self.path / f"{name}.new"
        with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as handle:
            handle.write(text)
        new.rename(self.path / name)

    @property
    def sockets(self) -> Path:
        """The folder of the servers' sockets: below the home, or elsewhere when its path cannot be a socket's."""
        name = f"lunaos-{os.getuid()}-{hashlib.sha256(os.fsencode(self.path)).hexdigest()[:12]}"
        candidates = (self.path / "run", Path(tempfile.gettempdir()) / name, Path("/tmp") / name)  # noqa: S108 - checked
        folder = next(filter(_fits_a_socket, candidates))
        folder.mkdir(mode=0o700, exist_ok=True)
        state = folder.lstat()
        if not stat.S_ISDIR(state.st_mode) or state.st_uid != os.getuid() or state.st_mode & 0o077:
            raise PermissionError(f"{folder} is not a private folder of this user")
        return folder


def _fits_a_socket(folder: Path) -> bool:
    """Short enough, and free of the characters that URLs and PostgreSQL's list of folders give a meaning."""
    short = len(os.fsencode(folder)) + len(LONGEST_SOCKET_NAME) <= SOCKET_PATH_BYTES
    return short and re.fullmatch(r"[A-Za-z0-9_./+-]+", str(folder)) is not None
