"""Stripe's double beside the platform, for `make up STRIPE=local`."""

import hashlib
import os
import sys

from lunaos import environment
from lunaos.embedded import servers
from lunaos.embedded.home import Home
from lunaos.embedded.process import Program

LOCAL = "local"  # the value of STRIPE that starts the double
VARIABLES = ("STRIPE_SECRET_KEY", "STRIPE_WEBHOOK_SECRETS", "STRIPE_API_HOST")
PORT = 12111


def is_requested() -> bool:
    """Return whether STRIPE requests the double; raise OSError if it is misused."""
    value = os.environ.get("STRIPE", "")
    if value not in ("", LOCAL):
        raise OSError(f"STRIPE is {value!r}: set STRIPE={LOCAL} for Stripe's double, or nothing")
    # A real account beside the double would get test data.
    if value and (given := [name for name in VARIABLES if os.environ.get(name)]):
        raise OSError(
            f"STRIPE={LOCAL} starts a double, and {', '.join(given)} configures a real account: remove one of them"
        )
    return bool(value)


def port() -> int:
    return environment.read_int("STRIPE_PORT", PORT)


def url() -> str:
    """Return the address of the double, and of its page of events."""
    return f"http://127.0.0.1:{port()}"


def create_program(home: Home, platform_port: int) -> tuple[Program, dict[str, str]]:
    """Return the double, and the variables that configure the platform to use it."""
    host = url()
    secret = hashlib.sha256(home.secret("stripe-secret").encode()).hexdigest()
    webhook = f"http://127.0.0.1:{platform_port}/billing/webhook"
    argv = [sys.executable, "manage.py", "fake_stripe", "--port", str(port()), "--webhook-url", webhook]
    argv += ["--webhook-secret", f"whsec_{secret}", "--state", str(home.path / "stripe.json")]
    log = home.logs / "stripe.log"
    program = Program("Stripe's double", argv, log, ready=lambda: servers.responds_ok(f"{host}/style.css"))
    return program, dict(zip(VARIABLES, (f"sk_test_{secret}", f"whsec_{secret}", host), strict=True))
