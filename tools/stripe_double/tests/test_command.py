"""`manage.py fake_stripe`: its process, its file, its refusal."""

import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import stripe
from django.core.management import call_command
from django.core.management.base import CommandError

from lunaos.embedded.servers import free_port
from testing.servers import ROOT, environment
from tools.stripe_double import API_VERSION
from tools.stripe_double.management.commands.fake_stripe import Command
from tools.stripe_double.test_client import DoubleClient
from tools.stripe_double.tests.plans import KEY, SECRET, Plans
from tools.stripe_double.tests.receiver import WebhookReceiver

ENVIRONMENT = {
    "DJANGO_DEBUG": "true",
    "DJANGO_SECRET_KEY": "double",
    "DJANGO_SETTINGS_MODULE": "lunaos.settings",
    "DATABASE_URL": "postgres://nobody",
    "REDIS_URL": "redis://nobody",
    "PATH": os.environ["PATH"],
}
NOBODY = "http://127.0.0.1:9/hook"


def start(*arguments: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "manage.py", "fake_stripe", "--webhook-secret", SECRET, *arguments]
    return subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@contextmanager
def running(port: int, state: Path, webhook: str = NOBODY, stop: int = signal.SIGTERM) -> Iterator[DoubleClient]:
    with start("--port", str(port), "--state", str(state), "--webhook-url", webhook) as process:
        assert process.stdout
        assert process.stdout.readline() == f"Double of Stripe ready on http://127.0.0.1:{port}\n"
        hand = DoubleClient()
        hand.connect(f"http://127.0.0.1:{port}", SECRET)
        yield hand
        hand.close()
        process.send_signal(stop)
        rest, errors = process.communicate(timeout=20)
        assert (process.returncode, rest, errors) == (0, "", "")


def refused(address: str, port: int) -> bool:
    with socket.socket() as other:
        return other.connect_ex((address, port)) != 0


def sdk(hand: DoubleClient) -> stripe.StripeClient:
    return stripe.StripeClient(KEY, stripe_version=API_VERSION, base_addresses={"api": hand.url})


def test_it_works(tmp_path: Path, receiver_server: WebhookReceiver) -> None:
    """Objects survive a restart: bought, not yet paid, and not delivered ones."""
    receiver_server.reset()
    port, state = free_port(), tmp_path / "new" / "stripe.json"
    with running(port, state) as hand:
        assert refused("127.0.0.2", port)  # a server on all addresses would answer there
        plans = Plans(sdk(hand))
        waiting = plans.session(plans.team)
        bought = hand.pay(plans.session(plans.pro).id)
        before = hand.events()
    with running(port, state, receiver_server.url, stop=signal.SIGINT) as hand:
        assert hand.events() == before
        assert sdk(hand).v1.subscriptions.retrieve(bought["subscription"]).status == "active"
        assert {event.type for event in receiver_server.events(3, SECRET)} >= {"checkout.session.completed"}
        assert hand.pay(waiting.id)["status"] == "complete"
    assert [each.name for each in state.parent.iterdir()] == ["stripe.json"]
    assert stat.S_IMODE(state.stat().st_mode) == 0o600


@pytest.mark.parametrize("key", ["sk_live_abc", "rk_live_abc"])
def test_it_refuses_to_start_beside_a_live_key(monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    monkeypatch.setenv("STRIPE_SECRET_KEY", key)
    with pytest.raises(CommandError, match="STRIPE_SECRET_KEY is a live key") as caught:
        call_command(Command(), webhook_secret=SECRET)
    assert key not in str(caught.value)


@pytest.mark.parametrize(
    ("key", "there"), [("", True), ("sk_test_aPlantedKey00", True), ("sk_live_aPlantedKey00", False)]
)
def test_the_platform_reports_the_double_under_a_test_key(database: None, key: str, there: bool) -> None:
    code = "from lunaos import settings; print('tools.stripe_double' in settings.INSTALLED_APPS)"
    changes = {"STRIPE_SECRET_KEY": key, "STRIPE_WEBHOOK_SECRETS": "whsec_planted" if key else ""}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment(**changes), cwd=ROOT, capture_output=True, text=True
    )
    assert done.stdout.strip() == str(there), done.stderr
