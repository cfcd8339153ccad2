"""Stripe's double and its subscribers, for tests of the platform."""

from typing import Any

import pytest
from django.db import IntegrityError, OperationalError, transaction
from django.test import Client
from djstripe.models import Customer

from accounts.auditlog import alerts
from billing.models import WebhookEvent
from billing.payments import checkout, customer_locks, plans, stripe_connection, webhooks
from lunaos.embedded.servers import until
from testing.client import Api
from tools.stripe_double.deliveries import body_of
from tools.stripe_double.double import Double

WITHIN_S = 15
NO_SUBSCRIPTION = {"tier": "free", "status": "none", "subscription": None, "checkoutBlocked": False}


class Stripe:
    """The double, which delivers its events to the platform, and the actions of tests."""

    def __init__(self, double: Double, api: Api) -> None:
        self.double = double
        self.api = api

    def subscribe(self, user: Any, tier: str = "pro") -> str:
        """Go through checkout and wait for the tier; return the subscription's id."""
        session_id = self.checkout(user, tier)
        subscription_id = str(self.double.pay(session_id)["subscription"])
        assert until(lambda: self.tier(user) == tier, WITHIN_S), self.double.delivered()
        return subscription_id

    def checkout(self, user: Any, tier: str = "pro") -> str:
        response = self.api.post("/billing/checkout", json={"tier": tier}, headers=self.api.as_(user))
        assert response.status_code == 200, response.text
        return str(response.json()["data"]["sessionId"])

    def tier(self, user: Any) -> str:
        user.refresh_from_db(fields=["tier"])
        return str(user.tier)

    def reaches_tier(self, user: Any, tier: str) -> bool:
        """Return whether events bring a user to a tier in time."""
        return until(lambda: self.tier(user) == tier, WITHIN_S)

    def post(self, user: Any, path: str, **body: Any) -> Any:
        return self.api.post(f"/billing/{path}", json=body or None, headers=self.api.as_(user))

    def reaches_status(self, user: Any, status: str) -> bool:
        """Return whether events bring a user's subscription to a status in time."""
        return until(lambda: self.subscription_state(user)["status"] == status, WITHIN_S)

    def wait_for_deliveries(self) -> None:
        """Wait until the platform has accepted all events."""
        made = [event["id"] for event in self.double.events() if event["type"] in webhooks.HANDLED_EVENT_TYPES]
        assert until(lambda: all(self.double.delivered().get(id_) == 200 for id_ in made), WITHIN_S)

    def subscription_state(self, user: Any) -> dict[str, Any]:
        data: dict[str, Any] = self.api.get("/billing/subscription", headers=self.api.as_(user)).json()["data"]
        return data

    def stop_deliveries(self) -> None:
        self.double.deliveries(automatic=False)

    def price(self, tier: str) -> str:
        return plans.get_price_id(tier)


class LocalStripe:
    """The double with the platform in this process; a test delivers the events itself."""

    def __init__(self, double: Double) -> None:
        self.double = double
        self.client = Client()
        self._delivered: set[str] = set()

    def subscribe(self, user: Any, tier: str = "pro") -> dict[str, Any]:
        """Go through checkout, deliver the events, and return the subscription's charge."""
        session = self.double.pay(checkout.start(user=user, tier=tier).session_id)
        self.deliver()
        user.refresh_from_db(fields=["tier"])
        return self.charges(str(session["customer"]))[0]

    def stranger(self) -> str:
        """Return the id of a customer of another shop at the same account of Stripe."""
        return stripe_connection.client().v1.customers.create({"email": "stranger@example.com"}).id

    def charges(self, customer_id: str) -> list[dict[str, Any]]:
        found = stripe_connection.client().v1.charges.list({"customer": customer_id})
        return [charge.to_dict() for charge in found.data]

    def deliver(self) -> None:
        """Deliver all events since the last call, in the order of their creation."""
        for event in self.new_events():
            assert self.send(event) == 200, event["type"]

    def new_events(self) -> list[dict[str, Any]]:
        """Return the events for the platform that `deliver` has not delivered yet."""
        created = [each for each in self.double.events() if each["type"] in webhooks.HANDLED_EVENT_TYPES]
        found = [each for each in created if each["id"] not in self._delivered]
        self._delivered |= {each["id"] for each in found}
        return found

    def send(self, event: dict[str, Any]) -> int:
        """Post one signed event to the platform's webhook, and return the status."""
        body = body_of(event)
        headers = {"Stripe-Signature": self.double.sign(body)}
        answer = self.client.post("/billing/webhook", body, content_type="application/json", headers=headers)
        return int(answer.status_code)


def clear_stripe() -> bool:
    """Delete all rows of Stripe's; return False if a request wrote another row."""
    try:
        # Customer by customer, each after its open requests.
        for customer in Customer.objects.all():
            with transaction.atomic():
                customer_locks.lock_until_commit(customer.id)
                customer.delete()
        WebhookEvent.objects.all().delete()
    except (IntegrityError, OperationalError):
        return False
    return not Customer.objects.exists()


@pytest.fixture
def alarms(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the kinds of the alerts that the test raises."""
    kinds: list[str] = []
    monkeypatch.setattr(alerts, "send", lambda kind, message, **facts: kinds.append(kind))
    monkeypatch.setattr(alerts, "send_daily", lambda kind, subject, message, **facts: kinds.append(kind))
    return kinds
