"""Fixtures: a double with two plans, and a receiver of its events."""

from collections.abc import Iterator

import httpx
import pytest
import stripe

from testing.client import NO_TRUSTED_AUTHORITIES
from tools.stripe_double import API_VERSION
from tools.stripe_double.double import Double
from tools.stripe_double.tests.plans import KEY, SECRET, Plans
from tools.stripe_double.tests.receiver import WebhookReceiver


@pytest.fixture(scope="session")
def double_server() -> Iterator[Double]:
    with Double(webhook_secret=SECRET) as double:
        yield double


@pytest.fixture
def double(double_server: Double) -> Double:
    """Return an empty double without a webhook."""
    double_server.reset()
    return double_server


@pytest.fixture
def client(double: Double) -> stripe.StripeClient:
    """Return Stripe's own SDK, connected to the double."""
    return stripe.StripeClient(
        KEY, stripe_version=API_VERSION, base_addresses={"api": double.url}, max_network_retries=0
    )


@pytest.fixture
def browser(double: Double) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=double.url, verify=NO_TRUSTED_AUTHORITIES, timeout=30) as browser:
        yield browser


@pytest.fixture(scope="session")
def receiver_server() -> Iterator[WebhookReceiver]:
    with WebhookReceiver() as receiver:
        yield receiver


@pytest.fixture
def receiver(receiver_server: WebhookReceiver, double: Double) -> WebhookReceiver:
    """Return a webhook that the double delivers to."""
    receiver_server.reset()
    double.deliveries(url=receiver_server.url)
    return receiver_server


@pytest.fixture
def plans(client: stripe.StripeClient) -> Plans:
    return Plans(client)
