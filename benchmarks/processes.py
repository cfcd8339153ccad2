"""Processes, provider and users of the benchmarks."""

import os
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from lunaos.embedded.servers import free_port

HERE = Path(__file__).parent
USERS = 10  # team users: one may send 6 000 requests a minute


@contextmanager
def process(*command: str) -> Iterator[subprocess.Popen[bytes]]:
    """Start a child process that ends with the block."""
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=HERE.parent)
    try:
        yield child
    finally:
        child.terminate()
        try:
            child.wait(20)
        except subprocess.TimeoutExpired:  # a worker that is in the middle of something
            child.kill()
            child.wait()


@contextmanager
def provider() -> Iterator[int]:
    """Start the model provider and set its variables for the block; yield its port."""
    port = free_port()
    os.environ |= {
        "DJANGO_SETTINGS_MODULE": "lunaos.settings",
        "DEEPSEEK_BASE_URL": f"http://127.0.0.1:{port}/v1",
        "DEEPSEEK_API_KEY": "benchmark",
    }
    with process(sys.executable, str(HERE / "upstream.py"), str(port)):
        yield port


@contextmanager
def web() -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    """Start a web process; yield its port and process."""
    port = free_port()
    daphne = (sys.executable, "-m", "daphne", "-p", str(port), "-v", "0", "--no-server-name", "lunaos.asgi:application")
    with process(*daphne) as child:
        _wait_until_up(port)
        yield port, child


@contextmanager
def chains_worker() -> Iterator[None]:
    """Start a worker of chains as `make up` does."""
    command = ("-m", "celery", "-A", "lunaos", "worker", "--pool", "threads", "--queues", "chains")
    with process(sys.executable, *command, "--concurrency", "64", "--without-gossip", "--without-mingle"):
        yield


@contextmanager
def worker(queue: str) -> Iterator[None]:
    """Start a worker of a queue without waiting until it is ready."""
    command = ("-m", "celery", "-A", "lunaos", "worker", "--pool", "threads", "--queues", queue)
    concurrency = {"chains": "64", "indexing": "2"}.get(queue, "4")
    options = ("--without-gossip", "--without-mingle", "--hostname", f"{queue}@%h")
    with process(sys.executable, *command, "--concurrency", concurrency, *options):
        yield


@contextmanager
def embeddings() -> Iterator[None]:
    """Start a scripted embedding model and set its variables for the block."""
    from testing.loopback.embeddings import EmbeddingsServer

    with EmbeddingsServer() as model:
        os.environ |= {"EMBEDDINGS_BASE_URL": model.base_url, "EMBEDDINGS_MODEL": "bag-of-words"}
        yield


def _wait_until_up(port: int) -> None:
    for _ in range(200):
        try:
            urlopen(f"http://127.0.0.1:{port}/health", timeout=2).read()
            return
        except OSError:
            time.sleep(0.1)
    raise SystemExit("Daphne did not start")


def make_tokens() -> list[str]:
    """Insert team users; return their tokens."""
    import django

    django.setup()
    from django.core.management import call_command

    call_command("prepare", verbosity=0)
    from accounts.models import User
    from accounts.signin import jwt
    from billing.models import Tier

    Tier.objects.update(executions_at_once=10_000, starts_per_hour=10_000_000)  # ten users do what thousands would
    return [
        jwt.issue(User.objects.create_user(f"bench-{os.getpid()}-{n}@example.com", "no sign-in", tier="team"))
        for n in range(USERS)
    ]


def bound_runs_at_once() -> None:
    """Restore the tiers' bounds, which `make_tokens` raises."""
    from billing.models import Tier

    for tier, executions_at_once in (("free", 2), ("pro", 10), ("team", 50)):
        Tier.objects.filter(name=tier).update(executions_at_once=executions_at_once)


def accounts(count: int, *, tier: str) -> list[tuple[Any, str]]:
    """Insert further users after `make_tokens`; return them with their tokens."""
    from accounts.models import User
    from accounts.signin import jwt

    emails = [f"{uuid.uuid4().hex}@example.com" for _ in range(count)]
    users = [User.objects.create_user(email, "no sign-in", tier=tier) for email in emails]
    return [(user, jwt.issue(user)) for user in users]
