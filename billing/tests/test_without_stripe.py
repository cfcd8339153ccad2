"""A platform without Stripe, and one whose Stripe cannot be reached."""

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from testing.client import Api, error
from testing.servers import daphne
from testing.stripe import Stripe

ACTIONS = {"checkout": {"tier": "pro"}, "change": {"tier": "pro"}, "cancel": None, "resume": None, "portal": None}
READING = ("plans", "usage", "subscription")


@pytest.fixture(scope="module")
def bare_server(django_db_setup: None, django_db_blocker: Any, folder: Path) -> Iterator[str]:
    with django_db_blocker.unblock(), daphne(folder / "bare.log") as url:
        yield url


@pytest.fixture
def bare(database: None, bare_server: str) -> Iterator[Api]:
    with Api(base_url=bare_server, timeout=30) as client:
        yield client


def test_nothing_can_be_bought(bare: Api, alice: Any) -> None:
    for action, body in ACTIONS.items():
        response = bare.post(f"/billing/{action}", json=body, headers=bare.as_(alice))
        assert error(response) == (503, "billing_not_configured"), action
    for path in READING:
        assert bare.get(f"/billing/{path}", headers=bare.as_(alice)).status_code == 200
    assert error(bare.post("/billing/webhook", content=b"{}")) == (503, "billing_not_configured")


def test_plans(bare: Api, stripe: Stripe) -> None:
    free, pro, team = stripe.api.get("/billing/plans").json()["data"]["plans"]
    assert {key: value for key, value in pro.items() if key != "features"} == {
        **{"tier": "pro", "priceUsd": "29.00", "executionsPerMonth": 10_000, "requestsPerMinute": 600, "apiKeys": 5},
        **{"executionsAtOnce": 10, "startsPerHour": 2_000, "storedBytes": 5_000_000_000, "repositories": 100},
        **{"onSale": True},
    }
    assert (free["onSale"], team["priceUsd"], len(team["features"])) == (False, "79.00", 3)
    assert [plan["onSale"] for plan in bare.get("/billing/plans").json()["data"]["plans"]] == [False] * 3


@pytest.fixture
def hanging(database: None, stripe_environment: dict[str, str], folder: Path) -> Iterator[Api]:
    """Return a platform whose Stripe accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        host = f"http://127.0.0.1:{listener.getsockname()[1]}"
        with daphne(folder / "hanging.log", **{**stripe_environment, "STRIPE_API_HOST": host}) as url:
            yield Api(base_url=url, timeout=8)  # less than the long time-out, more than the short one


def test_stripe_cannot_be_reached(stripe: Stripe, alice: Any, hanging: Api) -> None:
    stripe.subscribe(alice)
    for action, body in ACTIONS.items():
        response = hanging.post(f"/billing/{action}", json=body, headers=hanging.as_(alice))
        assert error(response) == (503, "billing_unavailable"), action
        assert int(response.headers["Retry-After"]) > 0
    for path in READING:
        assert hanging.get(f"/billing/{path}", headers=hanging.as_(alice)).status_code == 200


@pytest.mark.parametrize("fault", [{"status": 500}, {"status": 503}, {"cut": True}, {"status": 401}, {"status": 429}])
def test_a_failing_stripe(stripe: Stripe, alice: Any, fault: dict[str, Any]) -> None:
    stripe.subscribe(alice)
    stripe.wait_for_deliveries()
    stripe.double.fault("/v1/", times=2, **fault)
    response = stripe.post(alice, "cancel")
    assert response.status_code in (409, 503) and response.json()["code"].startswith("billing_")
    assert stripe.subscription_state(alice)["subscription"]["cancelAtPeriodEnd"] is False
    assert stripe.tier(alice) == "pro"


def test_a_change_whose_answer_is_lost(stripe: Stripe, alice: Any) -> None:
    """The change is made at Stripe, and its event reports it."""
    subscription_id = stripe.subscribe(alice)
    stripe.wait_for_deliveries()
    stripe.double.fault(f"/v1/subscriptions/{subscription_id}", method="POST", cut=True, after_read=True)
    assert error(stripe.post(alice, "cancel")) == (503, "billing_unavailable")
    assert stripe.post(alice, "cancel").status_code == 200
    assert stripe.subscription_state(alice)["subscription"]["cancelAtPeriodEnd"] is True
