"""Stripe's double and its subscribers, for tests of the platform."""

from typing import Any

from django.db import IntegrityError, OperationalError, transaction
from djstripe.models import Customer

from billing.models import WebhookEvent
from billing.payments import customer_locks, plans, webhooks
from lunaos.embedded.servers import until
from testing.client import Api
from tools.stripe_double.double import Double

WITHIN_S = 15


class Stripe:
    """The double with the platform's prices, and the actions of tests.

    Args:
        double: delivers its events to the platform until `stop_deliveries`.
        api: a client of the platform.
    """

    def __init__(self, double: Double, api: Api) -> None:
        self.double = double
        self.api = api

    def subscribe(self, user: Any, tier: str = "pro") -> str:
        """Go through checkout and wait for the tier.

        Returns:
            The subscription's id.
        """
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
        """Return the user's answer of `GET /billing/subscription`."""
        data: dict[str, Any] = self.api.get("/billing/subscription", headers=self.api.as_(user)).json()["data"]
        return data

    def stop_deliveries(self) -> None:
        """Deliver events only where a test does so."""
        self.double.deliveries(automatic=False)

    def price(self, tier: str) -> str:
        return plans.get_price_id(tier)


def clear_stripe() -> bool:
    """Delete all rows of Stripe's, customer by customer, after open requests.

    Returns:
        Whether no request wrote another row meanwhile.
    """
    try:
        for customer in Customer.objects.all():
            with transaction.atomic():
                customer_locks.lock_until_commit(customer.id)
                customer.delete()
        WebhookEvent.objects.all().delete()
    except (IntegrityError, OperationalError):
        return False
    return not Customer.objects.exists()
