"""LUNAOS_HOME: the one folder that holds all embedded state."""

import fcntl
import hashlib
import os
import secrets
import tempfile
from pathlib import Path
from typing import IO

SOCKET_PATH_BYTES = 107  # sun_path of a Unix socket (unix(7)), without the closing NUL
LONGEST_SOCKET_NAME = "/.s.PGSQL.5432.lock"


class HomeInUse(Exception):
    """Another supervisor runs on this folder."""


class Home:
    """Paths below LUNAOS_HOME, made on first use."""

    def __init__(self, path: Path) -> None:
        self.path = path.resolve()
        self.logs = self.path / "logs"
        self.logs.mkdir(parents=True, exist_ok=True)
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
            with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as handle:
                handle.write(secrets.token_urlsafe(48))
        return file.read_text()

    @property
    def sockets(self) -> Path:
        """The folder of the servers' sockets: below the home, or elsewhere when its path is too long for a socket."""
        folder = self.path / "run"
        if len(os.fsencode(folder)) + len(LONGEST_SOCKET_NAME) > SOCKET_PATH_BYTES:
            digest = hashlib.sha256(os.fsencode(self.path)).hexdigest()[:12]
            folder = Path(tempfile.gettempdir()) / f"lunaos-{os.getuid()}-{digest}"
        folder.mkdir(mode=0o700, exist_ok=True)
        if folder.is_symlink() or folder.stat().st_uid != os.getuid():
            raise PermissionError(f"{folder} belongs to somebody else")
        return folder
