"""`manage.py fake_stripe`: its own process, its file, its refusal."""

import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import stripe

from stripe_double import API_VERSION
from stripe_double.hand import Hand
from stripe_double.tests.cast import KEY, SECRET, Plans
from stripe_double.tests.receiver import Receiver

ENVIRONMENT = {
    "DJANGO_DEBUG": "true",
    "DJANGO_SECRET_KEY": "double",
    "DJANGO_SETTINGS_MODULE": "lunaos.settings",
    "DATABASE_URL": "postgres://nobody",
    "REDIS_URL": "redis://nobody",
    "PATH": os.environ["PATH"],
}
NOBODY = "http://127.0.0.1:9/hook"


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def start(*arguments: str, **environment: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "manage.py", "fake_stripe", "--webhook-secret", SECRET, *arguments]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, env={**ENVIRONMENT, **environment}, stdout=pipe, stderr=pipe, text=True)


@contextmanager
def running(port: int, state: Path, webhook: str = NOBODY, stop: int = signal.SIGTERM) -> Iterator[Hand]:
    with start("--port", str(port), "--state", str(state), "--webhook-url", webhook) as process:
        assert process.stdout
        assert process.stdout.readline() == f"Double of Stripe ready on http://127.0.0.1:{port}\n"
        hand = Hand()
        hand.connect(f"http://127.0.0.1:{port}", SECRET)
        yield hand
        hand.close()
        process.send_signal(stop)
        rest, errors = process.communicate(timeout=20)
        assert (process.returncode, rest, errors) == (0, "", "")


def sdk(hand: Hand) -> stripe.StripeClient:
    return stripe.StripeClient(KEY, stripe_version=API_VERSION, base_addresses={"api": hand.url})


def test_it_works(tmp_path: Path, receiver_server: Receiver) -> None:
    """A world survives a restart: what is bought, what is not yet paid, and what was not delivered."""
    receiver_server.reset()
    port, state = free_port(), tmp_path / "stripe.json"
    with running(port, state) as hand:
        plans = Plans(sdk(hand))
        waiting = plans.session(plans.team)
        bought = hand.pay(plans.session(plans.pro).id)
        before = hand.events()
    with running(port, state, receiver_server.url, stop=signal.SIGINT) as hand:
        assert hand.events() == before
        assert sdk(hand).v1.subscriptions.retrieve(bought["subscription"]).status == "active"
        assert {event.type for event in receiver_server.events(3, SECRET)} >= {"checkout.session.completed"}
        assert hand.pay(waiting.id)["status"] == "complete"
    assert [each.name for each in tmp_path.iterdir()] == ["stripe.json"]
    assert stat.S_IMODE(state.stat().st_mode) == 0o600


def test_it_listens_on_the_loopback_only(tmp_path: Path) -> None:
    port = free_port()
    with running(port, tmp_path / "stripe.json"):
        with socket.socket(socket.AF_INET) as other:
            other.settimeout(5)
            assert other.connect_ex(("127.0.0.2", port)) != 0  # a server on all addresses would answer here
        assert httpx.get(f"http://127.0.0.1:{port}/v1/account").status_code == 401


@pytest.mark.parametrize("key", ["sk_live_abc", "rk_live_abc"])
def test_never_beside_a_live_key(key: str) -> None:
    with start(STRIPE_SECRET_KEY=key) as process:
        _, errors = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "is a live key" in errors
    assert key not in errors


def test_it_is_not_there_where_debugging_is_off() -> None:
    with start(DJANGO_DEBUG="false", DJANGO_SECRET_KEY="s" * 60) as process:
        _, errors = process.communicate(timeout=30)
    assert "Unknown command: 'fake_stripe'" in errors
