"""The commands of the platform's processes: `python -m lunaos.processes ROLE`."""

# `make up`, the image, compose and Kubernetes use them. `… manage WORDS` executes `manage.py WORDS`.

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured

from lunaos import environment

ROOT = Path(__file__).resolve().parent.parent
CELERY = [sys.executable, "-m", "celery", "-A", "lunaos"]
WORKER = [*CELERY, "worker", "--pool", "threads", "--without-gossip", "--without-mingle"]
MANAGE = [sys.executable, str(ROOT / "manage.py")]
# By role: queue, concurrency, name of the worker.
QUEUES = {
    "worker": ("celery", "4", "jobs"),
    "indexing": ("indexing", "2", "indexing"),
    "chains": ("chains", "64", "chains"),
}
ROLES = ("web", *QUEUES, "beat", "migrate")
USAGE = f"usage: python -m lunaos.processes {{{','.join(ROLES)}}} | manage WORDS"


def web_command(address: str, port: int) -> list[str]:
    daphne = [sys.executable, "-m", "daphne", "-b", address, "-p", str(port), "-v", "0", "--no-server-name"]
    return [*daphne, "lunaos.asgi:application"]


def worker_command(role: str) -> list[str]:
    queue, concurrency, name = QUEUES[role]
    if role == "chains":  # its threads only wait: all chains of a process run on one event loop
        concurrency = str(environment.read_int("LUNAOS_CHAIN_CONCURRENCY", int(concurrency)))
    return [*WORKER, "--queues", queue, "--concurrency", concurrency, "--hostname", f"{name}@%h"]


def beat_command(home: Path) -> list[str]:
    """Return the command of beat, which keeps in `home` when each task was last due."""
    # Run one beat only: each beat sends every task.
    return [*CELERY, "beat", "--schedule", beat_schedule(home), "--pidfile", ""]


def beat_schedule(home: Path) -> str:
    """Return the path of the file with the times of periodic tasks."""
    return str(home / "beat-schedule")


def role_command(role: str) -> list[str]:
    if role == "web":
        return web_command(os.environ.get("LUNAOS_LISTEN") or "0.0.0.0", environment.read_int("PORT", 8000))  # noqa: S104 - in a container
    if role == "beat":
        return beat_command(Path(os.environ.get("LUNAOS_HOME") or ROOT / ".lunaos"))
    return [*MANAGE, "prepare"] if role == "migrate" else worker_command(role)


def main(words: Sequence[str]) -> None:
    """Replace this process by the command of a role, which then gets its signals."""
    if words[:1] == ["manage"]:
        argv = [*MANAGE, *words[1:]]
    elif len(words) == 1 and words[0] in ROLES:
        try:
            argv = role_command(words[0])
            _write_heartbeat_file(words[0])
        except (ImproperlyConfigured, OSError) as e:
            sys.exit(f"LunaOS cannot start: {e}")
    else:
        sys.exit(USAGE)
    os.execv(argv[0], argv)  # noqa: S606 - without a shell on purpose


def _write_heartbeat_file(role: str) -> None:
    # Health checks of containers read the role (deploy/image/health.py).
    if file := os.environ.get("LUNAOS_SIGN_OF_LIFE"):
        Path(file).write_text(role)


if __name__ == "__main__":
    main(sys.argv[1:])
