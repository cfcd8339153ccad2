"""Slow, failing and lost answers."""

import concurrent.futures

import httpx
import pytest
import stripe

from tools.stripe_double.double import Double
from tools.stripe_double.tests.plans import Plans


def test_it_works(double: Double, client: stripe.StripeClient) -> None:
    double.fault("/v1/customers", status=500, times=2)
    for _ in range(2):
        with pytest.raises(stripe.APIError):
            client.v1.customers.create({})
    assert client.v1.customers.create({}).id
    assert len(double.events()) == 1


def test_a_slow_fetch_of_the_old_state(double: Double, client: stripe.StripeClient, plans: Plans) -> None:
    subscription = plans.subscribed(double)
    with concurrent.futures.ThreadPoolExecutor() as threads:
        with double.hold("/v1/subscriptions", method="GET", after_read=True) as held:
            slow = threads.submit(client.v1.subscriptions.retrieve, subscription.id)
            held.wait()
            client.v1.subscriptions.cancel(subscription.id)
            assert client.v1.subscriptions.retrieve(subscription.id).status == "canceled"
        assert slow.result().status == "active"


def test_held_before_it_is_read(double: Double, client: stripe.StripeClient, plans: Plans) -> None:
    subscription = plans.subscribed(double)
    with concurrent.futures.ThreadPoolExecutor() as threads:
        with double.hold("/v1/subscriptions", method="GET") as held:
            late = threads.submit(client.v1.subscriptions.retrieve, subscription.id)
            held.wait()
            client.v1.subscriptions.cancel(subscription.id)
        assert late.result().status == "canceled"


def test_a_lost_answer_can_be_retried(double: Double, client: stripe.StripeClient) -> None:
    double.fault("/v1/customers", cut=True, after_read=True)
    with pytest.raises(stripe.APIConnectionError):
        client.v1.customers.create({"name": "A"}, {"idempotency_key": "once"})
    assert client.v1.customers.create({"name": "A"}, {"idempotency_key": "once"}).name == "A"
    assert len(double.events("customer.created")) == 1


def test_a_delayed_answer(double: Double, browser: httpx.Client) -> None:
    double.fault("/v1/account", delay_s=5)
    with pytest.raises(httpx.ReadTimeout):
        browser.get("/v1/account", timeout=0.05)


def test_a_limit_of_requests(double: Double, client: stripe.StripeClient) -> None:
    double.fault("/v1/", status=429)
    with pytest.raises(stripe.RateLimitError):
        client.v1.accounts.retrieve_current()


def test_a_fault_that_does_not_exist(double: Double) -> None:
    with pytest.raises(httpx.HTTPStatusError, match="404"):
        double.call("POST", "/_test/faults/99/release")


def test_a_fault_with_an_unknown_field(double: Double) -> None:
    with pytest.raises(httpx.HTTPStatusError, match="400"):
        double.fault("/v1/", sometimes=True)
