"""LUNAOS_HOME: the folder of all embedded state."""

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
    """Raised when another supervisor runs on the folder."""


class Home:
    def __init__(self, path: Path) -> None:
        self.path = path.resolve()
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.logs = self.path / "logs"
        self.logs.mkdir(exist_ok=True)
        self._lock: IO[str] | None = None

    def lock(self) -> None:
        """Lock the folder until this process ends, or raise HomeInUse."""
        self._lock = open(self.path / "lock", "a")  # noqa: SIM115 - open until the process ends
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as e:
            raise HomeInUse(f"another LunaOS runs in {self.path}; set LUNAOS_HOME to start a second one") from e

    def secret(self, name: str) -> str:
        """Return a random value, created once and readable by the owner only."""
        file = self.path / name
        if not file.exists():
            self._write(name, secrets.token_urlsafe(48))
        return file.read_text()

    def save_environment(self, variables: Mapping[str, str]) -> None:
        """Save the variables of the platform's processes for later commands."""
        self._write(ENVIRONMENT, json.dumps(dict(variables)))

    def load_environment(self) -> dict[str, str]:
        """Return the variables of the last start; empty if the file is missing or damaged."""
        try:
            found: dict[str, str] = json.loads((self.path / ENVIRONMENT).read_text())
        except (FileNotFoundError, ValueError):
            return {}
        return found

    def _write(self, name: str, text: str) -> None:
        # Renamed when complete, so that a kill leaves no partial file.
        new = self.path / f"{name}.new"
        with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as handle:
            handle.write(text)
        new.rename(self.path / name)

    @property
    def sockets(self) -> Path:
        """Return the folder of the servers' sockets, which may lie outside the home."""
        name = f"lunaos-{os.getuid()}-{hashlib.sha256(os.fsencode(self.path)).hexdigest()[:12]}"
        candidates = (self.path / "run", Path(tempfile.gettempdir()) / name, Path("/tmp") / name)  # noqa: S108 - checked
        folder = next(filter(_fits_a_socket, candidates))
        folder.mkdir(mode=0o700, exist_ok=True)
        # A folder in /tmp may have been made by another user.
        state = folder.lstat()
        if not stat.S_ISDIR(state.st_mode) or state.st_uid != os.getuid() or state.st_mode & 0o077:
            raise PermissionError(f"{folder} is not a private folder of this user")
        return folder


def _fits_a_socket(folder: Path) -> bool:
    short = len(os.fsencode(folder)) + len(LONGEST_SOCKET_NAME) <= SOCKET_PATH_BYTES
    # No characters that are special to URLs or PostgreSQL.
    return short and re.fullmatch(r"[A-Za-z0-9_./+-]+", str(folder)) is not None
