import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from django.conf import settings
from django.db import connection

from lunaos.embedded.process import before_exec
from lunaos.embedded.servers import free_port, responds_ok, until
from testing import forkserver

ROOT = forkserver.ROOT
STARTS_WITHIN_S = 90  # on a machine that has much else to do


def environment(**changes: str) -> dict[str, str]:
    """Return the environment of a process on this test process's database."""
    base, _, _ = os.environ["DATABASE_URL"].rpartition("/")
    database = connection.settings_dict["NAME"]
    return {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "lunaos.settings",
        "DATABASE_URL": f"{base}/{database}",
        "REDIS_URL": settings.REDIS_URL,
        "LUNAOS_LOG_LEVEL": "INFO",
        **changes,
    }


@contextmanager
def daphne(log: Path, up: str = "/health", /, **changes: str) -> Iterator[str]:
    """Start a web process; yield its base URL once `up` answers 200."""
    port = free_port()
    command = ["-m", "daphne", "-b", "127.0.0.1", "-p", str(port), "-v", "0", "--no-server-name"]
    # The test has no open requests when the process ends.
    changes = {"PORT": str(port), "LUNAOS_STOP_GRACE_S": "0.1", **changes}
    with process([*command, "lunaos.asgi:application"], log, **changes):
        url = f"http://127.0.0.1:{port}"
        if not until(lambda: responds_ok(f"{url}{up}"), STARTS_WITHIN_S):
            raise RuntimeError(f"Daphne did not come up:\n{log.read_text()[-3000:]}")
        yield url


@contextmanager
def worker(
    log: Path, *, queue: str = "chains", concurrency: str = "64", **changes: str
) -> Iterator[subprocess.Popen[bytes]]:
    """Start a Celery worker as `make up` does; yield it when it accepts tasks."""
    command = ["-m", "celery", "-A", "lunaos", "worker", "--pool", "threads", "--without-gossip", "--without-mingle"]
    name = f"{log.stem}@%h"
    started = log.stat().st_size if log.exists() else 0
    with process(
        [*command, "--queues", queue, "--concurrency", concurrency, "--hostname", name], log, **changes
    ) as child:
        if not until(lambda: b" ready." in log.read_bytes()[started:], STARTS_WITHIN_S):
            raise RuntimeError(f"The worker did not come up:\n{log.read_text()[-3000:]}")
        yield child


@contextmanager
def process(arguments: list[str], log: Path, **changes: str) -> Iterator[subprocess.Popen[bytes]]:
    """Start a Python process of the platform that ends with the block."""
    child = start(arguments, log, environment(**changes))
    try:
        yield child
    finally:
        child.terminate()
        child.wait(20)


def start(arguments: list[str], log: Path, variables: dict[str, str]) -> subprocess.Popen[bytes]:
    """Start `python -m MODULE WORDS`, which dies with this process."""
    log.touch()  # readers look for signs of readiness before the child has opened it
    if forkserver.IS_POSSIBLE:
        return forkserver.get(environment()).start(arguments, variables, log)
    command = [sys.executable, *arguments]
    with open(log, "ab") as output:
        return subprocess.Popen(
            command, cwd=ROOT, env=variables, stdout=output, stderr=output, preexec_fn=before_exec()
        )
