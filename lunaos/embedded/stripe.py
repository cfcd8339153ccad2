"""The double of Stripe beside the platform: `make up STRIPE=local`, for whoever has no account there."""

import hashlib
import os
import sys

from lunaos import environment
from lunaos.embedded import servers
from lunaos.embedded.home import Home
from lunaos.embedded.process import Program

LOCAL = "local"  # the value of STRIPE that asks for it
VARIABLES = ("STRIPE_SECRET_KEY", "STRIPE_WEBHOOK_SECRETS", "STRIPE_API_HOST")
PORT = 12111


def is_requested() -> bool:
    """Whether the environment asks for the double.

    Raises:
        OSError: it asks for something else, or for a real account as well.
    """
    asked = os.environ.get("STRIPE", "")
    if asked not in ("", LOCAL):
        raise OSError(f"STRIPE={asked} is not known; STRIPE={LOCAL} starts a double of Stripe")
    if asked and (given := [name for name in VARIABLES if os.environ.get(name)]):
        raise OSError(f"STRIPE={LOCAL} plays Stripe, and {', '.join(given)} names a real account: choose one")
    return bool(asked)


def port() -> int:
    """Where the double listens.

    Raises:
        ImproperlyConfigured: STRIPE_PORT is no port.
    """
    return environment.read_int("STRIPE_PORT", PORT)


def create_program(home: Home, platform_port: int) -> tuple[Program, dict[str, str]]:
    """The double, which keeps its world in LUNAOS_HOME.

    Returns:
        The program, and the variables that lead the platform to it.
    """
    host = f"http://127.0.0.1:{port()}"
    secret = hashlib.sha256(home.secret("stripe-secret").encode()).hexdigest()
    webhook = f"http://127.0.0.1:{platform_port}/billing/webhook"
    argv = [sys.executable, "manage.py", "fake_stripe", "--port", str(port()), "--webhook-url", webhook]
    argv += ["--webhook-secret", f"whsec_{secret}", "--state", str(home.path / "stripe.json")]
    log = home.logs / "stripe.log"
    program = Program("Stripe's double", argv, log, ready=lambda: servers.responds_ok(f"{host}/style.css"))
    return program, dict(zip(VARIABLES, (f"sk_test_{secret}", f"whsec_{secret}", host), strict=True))
